import { createServer, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import {
  AnswerSchema,
  SyncRequestSchema,
  SyncResponseSchema,
  type UsageOutcome,
  Verdict,
  VerifyResponseSchema,
} from "#gen/claviger/v1/key_verifier_pb.js";
import { frame } from "../../testkit/raw-sync.ts";

type Made<Values> = Values extends fc.Arbitrary<infer Value> ? Value : never;
type Answer = Made<typeof answers>;

/** One thing that the node does, each time that it hears something. */
export type Act =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | { readonly kind: "payload"; readonly bytes: Uint8Array }
  | { readonly kind: "grant"; readonly seconds: bigint; readonly nanos: number; readonly revision: bigint }
  | { readonly kind: "answer"; readonly answer: Answer }
  | { readonly kind: "garbled answer"; readonly bytes: Uint8Array }
  | { readonly kind: "change"; readonly keyIds: string[]; readonly allKeys: boolean; readonly sequence: bigint }
  | { readonly kind: "receipt"; readonly sequence: bigint; readonly outcome: number }
  | { readonly kind: "closing" }
  | { readonly kind: "nothing" }
  | { readonly kind: "end"; readonly how: "end" | "reset" | "hang up" | "refuse" };

const FAR = 10n ** 13n;
export const KEY_ID = `key_0${"a".repeat(25)}`;
const verdicts = fc.oneof(fc.constant(Verdict.VALID), fc.integer({ min: -1, max: 99 }));
const seconds = fc.oneof(fc.constant(3n), fc.bigInt({ min: -FAR, max: FAR }), fc.constantFrom(0n, 1n, -1n, FAR, -FAR));
const spans = fc.record({ seconds, nanos: fc.integer() });
const times = fc.option(spans, { nil: undefined });
const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const keys = fc.record({
  id: fc.oneof(fc.constant(KEY_ID), fc.string()),
  owner: fc.string(),
  scopes: fc.array(fc.constantFrom("a", "*", "b:*", "")),
  secretVersion: fc.oneof(fc.constant(1), fc.integer()),
});
const responses = fc.record({
  verdict: verdicts,
  key: fc.option(keys, { nil: undefined, freq: 5 }),
  secretExpireTime: times,
  retireTime: times,
  retryAfter: times,
  missingScopes: fc.array(fc.string(), { maxLength: 2 }),
  freshness: fc.integer({ min: -1, max: 9 }),
  revision: int64,
});
const entries = fc.record({
  standing: verdicts,
  allowedCidrs: fc.array(fc.constantFrom("10.0.0.0/8", "::/0"), { maxLength: 2 }),
  freshFor: times,
});
const answers = fc.record({
  result: fc.oneof(
    { weight: 5, arbitrary: responses.map((value) => ({ case: "response" as const, value })) },
    fc
      .record({ code: fc.integer(), message: fc.string() })
      .map((value) => ({ case: "refusal" as const, value: { ...value, details: [] } })),
    fc.constant({ case: undefined }),
  ),
  entry: fc.option(entries, { nil: undefined, freq: 5 }),
});
/** What an honest node says of a good key. */
const goodAnswer: Answer = {
  result: {
    case: "response",
    value: {
      verdict: Verdict.VALID,
      key: { id: KEY_ID, owner: "o", scopes: ["a"], secretVersion: 1 },
      secretExpireTime: undefined,
      retireTime: undefined,
      retryAfter: undefined,
      missingScopes: [],
      freshness: 1,
      revision: 1n,
    },
  },
  entry: { standing: Verdict.VALID, allowedCidrs: [], freshFor: { seconds: 60n, nanos: 0 } },
};
const bytes = fc.uint8Array({ maxLength: 60 });

const GOOD_ANSWER: Act = { kind: "answer", answer: goodAnswer };
const GOOD_GRANT: Act = { kind: "grant", seconds: 3n, nanos: 0, revision: 1n };

const acts: fc.Arbitrary<Act> = fc.oneof(
  fc.record({ kind: fc.constant("bytes" as const), bytes }),
  fc.record({ kind: fc.constant("payload" as const), bytes }),
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant("grant" as const), seconds, nanos: fc.integer(), revision: int64 }),
  },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("answer" as const), answer: answers }) },
  { weight: 4, arbitrary: fc.constant(GOOD_ANSWER) },
  { weight: 4, arbitrary: fc.constant(GOOD_GRANT) },
  fc.record({ kind: fc.constant("garbled answer" as const), bytes }),
  fc.record({
    kind: fc.constant("change" as const),
    keyIds: fc.array(fc.oneof(fc.constant(KEY_ID), fc.string()), { maxLength: 3 }),
    allKeys: fc.boolean(),
    sequence: int64,
  }),
  fc.record({ kind: fc.constant("receipt" as const), sequence: int64, outcome: fc.integer({ min: -1, max: 9 }) }),
  fc.constant({ kind: "closing" as const }),
  fc.constant({ kind: "nothing" as const }),
  fc.record({
    kind: fc.constant("end" as const),
    how: fc.constantFrom("end" as const, "reset" as const, "hang up" as const, "refuse" as const),
  }),
);

const anything = fc.array(acts, { minLength: 1, maxLength: 12 });

/** What the node does; half of the time it begins as an honest one does. */
export const scripts: fc.Arbitrary<readonly Act[]> = fc.oneof(
  anything,
  anything.map((rest) => [GOOD_GRANT, GOOD_ANSWER, GOOD_ANSWER, ...rest]),
);

export interface HostileNode {
  readonly url: string;
  /** Secrets of which it has said that they may be kept as good: only of those may memory say so. */
  readonly mayBeKept: ReadonlySet<string>;
  readonly streams: { count: number };
  close(): Promise<void>;
}

/** A node that speaks HTTP/2 as it must, and does the acts one after the other, again and again. */
export async function startHostileNode(script: readonly Act[]): Promise<HostileNode> {
  const mayBeKept = new Set<string>();
  const streams = { count: 0 };
  let turn = 0;
  const sessions = new Set<{ destroy(): void }>();
  const server = createServer();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("error", () => undefined);
  });
  server.on("stream", (stream: ServerHttp2Stream, headers) => {
    streams.count += 1;
    stream.on("error", () => undefined);
    const isSync = String(headers[":path"]).endsWith("/Sync");
    stream.respond({ ":status": 200, "content-type": "application/grpc+proto" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    // Also an answer to what was asked before: 1 is the first question of a stream.
    const asked = new Map<bigint, string>();
    readFrames(stream, (message) => {
      const act = script[turn++ % script.length] as Act;
      if (!isSync) return playCall(stream, act);
      const heard = heardOf(message);
      if (heard.secret !== "") asked.set(heard.id, heard.secret);
      play(stream, act, { ...heard, secret: asked.get(heard.id) ?? "" });
    });
  });

  function play(stream: ServerHttp2Stream, act: Act, heard: Heard): void {
    const say = (message: MessageInitShape<typeof SyncResponseSchema>["message"]) =>
      stream.write(frame(toBinary(SyncResponseSchema, create(SyncResponseSchema, { message: message as never }))));
    if (act.kind === "grant") {
      const { seconds, nanos, revision } = act;
      say({ case: "lease", value: { nonce: heard.nonce, remaining: { seconds, nanos }, revision } });
    } else if (act.kind === "answer") {
      if (isKeepable(act.answer)) mayBeKept.add(heard.secret);
      say({ case: "answer", value: { ...act.answer, id: heard.id } as never });
    } else if (act.kind === "garbled answer") {
      // An id, and a response of these bytes.
      const id = toBinary(AnswerSchema, create(AnswerSchema, { id: heard.id }));
      const answer = Buffer.concat([id, Buffer.from([0x12, act.bytes.length]), act.bytes]);
      stream.write(frame(Buffer.concat([Buffer.from([0x1a, answer.length]), answer])));
    } else if (act.kind === "change") {
      const { sequence, keyIds, allKeys } = act;
      say({ case: "change", value: { sequence, keyIds, allKeys } });
    } else if (act.kind === "receipt") {
      say({ case: "usage", value: { sequence: act.sequence, outcome: act.outcome as UsageOutcome } });
    } else if (act.kind === "closing") say({ case: "closing", value: {} });
    else playBytes(stream, act);
  }

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    mayBeKept,
    streams,
    async close() {
      for (const session of sessions) session.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** What the node was last told on a stream; an answer to anything else than a question has no question. */
interface Heard {
  readonly nonce: bigint;
  readonly id: bigint;
  readonly secret: string;
}

function heardOf(bytes: Uint8Array): Heard {
  const { message } = fromBinary(SyncRequestSchema, bytes);
  return {
    nonce: message.case === "lease" ? message.value.nonce : 0n,
    id: message.case === "ask" ? message.value.id : 1n,
    secret: message.case === "ask" ? (message.value.request?.secret ?? "") : "",
  };
}

function isKeepable({ result, entry }: Answer): boolean {
  const response = result.case === "response" ? result.value : undefined;
  return entry?.standing === Verdict.VALID && response?.verdict === Verdict.VALID && response.key !== undefined;
}

function playCall(stream: ServerHttp2Stream, act: Act): void {
  if (act.kind === "answer" && act.answer.result.case === "response") {
    const response = create(VerifyResponseSchema, act.answer.result.value as never);
    stream.end(frame(toBinary(VerifyResponseSchema, response)));
  } else playBytes(stream, act);
}

function playBytes(stream: ServerHttp2Stream, act: Act): void {
  if (act.kind === "bytes") stream.write(act.bytes);
  else if (act.kind === "payload") stream.write(frame(act.bytes));
  else if (act.kind !== "end") return;
  else if (act.how === "end") stream.end();
  else if (act.how === "reset") stream.close(2);
  else if (act.how === "hang up") stream.session?.destroy();
  else stream.destroy();
}

function readFrames(stream: ServerHttp2Stream, onMessage: (message: Buffer) => void): void {
  let rest = Buffer.alloc(0);
  stream.on("data", (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
      const end = 5 + rest.readUInt32BE(1);
      const message = rest.subarray(5, end);
      rest = rest.subarray(end);
      if (!stream.destroyed) onMessage(message);
    }
  });
}
