import { Code, createContextValues, type StreamRequest, type StreamResponse } from "@connectrpc/connect";
import { beforeEach, describe, expect, test } from "vitest";
import { FakeClocks } from "../../../testkit/fakes/fake-clocks.ts";
import type { Look } from "../protect/guard.ts";
import type { Principal } from "../protect/principal.ts";
import { watchSettings } from "../protect/watch-key.ts";
import { runWatched } from "./watched-stream.ts";

const PRINCIPAL = {} as Principal;
const REVOKED: Look = {
  refusal: { code: Code.Unauthenticated, reason: "CREDENTIAL_INVALID", message: "revoked", metadata: {} },
};

/** A call of a handler, by the part that matters here. */
function requestUntil(signal: AbortSignal): StreamRequest {
  const request = { stream: true, signal, message: nothing(), contextValues: createContextValues() };
  return request as unknown as StreamRequest;
}

async function* nothing() {}

describe("a stream whose key dies", () => {
  let timers: FakeClocks;
  let hangUp: AbortController;
  /** What the handler was called with. */
  let seen: StreamRequest | undefined;

  beforeEach(() => {
    timers = new FakeClocks();
    hangUp = new AbortController();
    seen = undefined;
  });

  function run(answer: () => Promise<StreamResponse>): Promise<StreamResponse> {
    const request = requestUntil(hangUp.signal);
    const next = (called: unknown) => {
      seen = called as StreamRequest;
      return answer();
    };
    return runWatched({ next, request, principal: PRINCIPAL, recheck: () => REVOKED }, watchSettings({ timers }));
  }

  /** The answer of a handler that has sent one message, and holds something until it is told to stop. */
  function answerWith(messages: AsyncIterable<unknown>): () => Promise<StreamResponse> {
    return async () => ({ stream: true, trailer: new Headers(), message: messages }) as unknown as StreamResponse;
  }

  test("aborts the handler's signal and ends its messages without a reader", async () => {
    let isReleased = false;
    async function* make() {
      try {
        yield 1;
        yield 2;
      } finally {
        isReleased = true;
      }
    }
    const response = await run(answerWith(make()));
    const reading = response.message[Symbol.asyncIterator]();
    await reading.next();
    await timers.pass(60_000);
    expect(seen?.signal.reason).toMatchObject({ code: Code.Unauthenticated });
    expect(isReleased).toBe(true);
    await expect(reading.next()).rejects.toMatchObject({ code: Code.Unauthenticated });
  });

  test("ends although the handler ignores the signal and never answers", async () => {
    const call = run(() => new Promise(() => {}));
    const ended = expect(call).rejects.toMatchObject({ code: Code.Unauthenticated });
    await timers.pass(60_000);
    await ended;
  });

  test("is released as soon as the call is over, without a reader to the end", async () => {
    await run(answerWith(nothing()));
    expect(timers.pending).toBe(1);
    hangUp.abort();
    expect(timers.pending).toBe(0);
  });

  test("is not watched if the call is over before it begins", async () => {
    hangUp.abort();
    await run(answerWith(nothing()));
    expect(timers.pending).toBe(0);
  });
});
