import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { beforeEach, describe, expect, it } from "vitest";
import { SyncRequestSchema, type SyncResponse, UsageOutcome, Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { FakeClocks } from "../../../testkit/fakes/fake-clocks.ts";
import { ClavigerError } from "../../keys/errors.ts";
import { InProcessBus } from "../../revocation/change-bus.ts";
import { ChildLease } from "../../revocation/child-lease.ts";
import { Feed } from "../../revocation/feed.ts";
import type { Metered } from "../../usage/metered-verifier.ts";
import { Lease } from "../../verify/lease.ts";
import { toConnectError } from "../errors.ts";
import { createValidate } from "../validate.ts";
import { SyncSession } from "./sync-session.ts";

const UNKNOWN: Metered = {
  decision: { verdict: "unknown", missingScopes: [] },
  ...{ found: undefined, freshness: "authoritative", revision: 0 },
};

let said: SyncResponse["message"][];
let ended: (ConnectError | undefined)[];
let answer: () => Promise<Metered>;
let admit: () => Promise<void> | undefined;
let session: SyncSession;

beforeEach(() => {
  [said, ended] = [[], []];
  answer = async () => UNKNOWN;
  admit = () => undefined;
  const clocks = new FakeClocks();
  const lease = new Lease(clocks);
  lease.grant({ monotonicMs: clocks.monotonicMs(), wallMs: clocks.wallMs() }, 3000);
  const cache = { apply: () => undefined, clear: () => undefined };
  const { children } = new Feed({ epoch: "e", cache, clocks, bus: new InProcessBus() });
  session = new SyncSession({
    verifier: { verifyCached: () => undefined, verify: () => answer() },
    leftMs: () => 0,
    reports: { proofFor: () => new Uint8Array(), take: async () => "taken" },
    validate: createValidate(),
    mostAsks: 2,
    attach: (stream, agent) =>
      new ChildLease({
        ...{ children, lease, clocks, stream, agent, appliedRevision: () => 5, mostKeys: 10 },
        ...{ slowMs: 250, onDelay: () => undefined },
      }),
    agent: { keyId: "key_1", owner: "alice", address: "" },
    asker: { callerId: "key_caller", lane: "sync" },
    admit: () => admit(),
    credentialEnd: () => undefined,
    send: ({ message }) => said.push(message),
    end: (error) => ended.push(error),
    present: (error) => (error instanceof ConnectError ? error : toConnectError(error as ClavigerError)),
  });
});

function say(message: NonNullable<MessageInitShape<typeof SyncRequestSchema>["message"]>): Promise<void> {
  session.handle(create(SyncRequestSchema, { message }));
  return new Promise((resolve) => setImmediate(resolve));
}

const ask = (id: bigint) => say({ case: "ask", value: { id, request: { secret: "s" } } });

const REPORT = {
  epoch: "0123456789abcdef",
  sequence: 1n,
  deltas: [
    {
      ...{ keyId: "key_01jdxyz0000000000000000000", secretVersion: 1, verdict: Verdict.VALID, count: 1 },
      lastTime: { seconds: 1n },
    },
  ],
};

describe("a stream of a verifier inside an agent", () => {
  it("refuses questions beyond those that are worked on at once, and takes others when those are answered", async () => {
    const { promise, resolve } = Promise.withResolvers<Metered>();
    answer = () => promise;
    for (const id of [1n, 2n, 3n]) await ask(id);
    expect(said).toMatchObject([{ value: { id: 3n, result: { case: "refusal", value: { code: Code.Unavailable } } } }]);
    resolve(UNKNOWN);
    await new Promise((done) => setImmediate(done));
    await ask(4n);
    expect(said.map(({ value }) => (value as { id: bigint }).id)).toEqual([3n, 1n, 2n, 4n]);
    expect(said[3]).toMatchObject({ value: { result: { case: "response", value: { verdict: Verdict.UNKNOWN } } } });
  });

  it("ends when its caller is no good any more, whatever is said", async () => {
    for (const message of [
      { case: "lease", value: { nonce: 1n } },
      { case: "ask", value: { id: 1n, request: { secret: "s" } } },
      { case: "usage", value: REPORT },
    ] as const) {
      admit = () => Promise.reject(new ClavigerError("CREDENTIAL_INVALID", "revoked"));
      await say(message);
    }
    expect(ended.map((error) => error?.code)).toEqual(Array(3).fill(Code.Unauthenticated));
    expect(said).toEqual([]);
  });

  it("goes on where it cannot be said whether the caller is: no lease, no answer, the report again", async () => {
    admit = () => Promise.reject(new ClavigerError("STORAGE_UNAVAILABLE", "away"));
    await say({ case: "lease", value: { nonce: 1n } });
    await ask(1n);
    await say({ case: "usage", value: REPORT });
    expect(ended).toEqual([]);
    expect(said).toMatchObject([
      { case: "lease", value: { nonce: 1n, remaining: { seconds: 0n, nanos: 0 } } },
      { case: "answer", value: { result: { case: "refusal", value: { code: Code.Unavailable } } } },
      { case: "usage", value: { outcome: UsageOutcome.UNAVAILABLE } },
    ]);
  });

  it("tells what is wrong with a question, and ends on a message that is none", async () => {
    await say({ case: "ask", value: { id: 1n, request: { secret: "s", clientIp: "nowhere" } } });
    expect(said).toMatchObject([{ value: { result: { case: "refusal", value: { code: Code.InvalidArgument } } } }]);
    session.handle(create(SyncRequestSchema));
    expect(ended).toMatchObject([{ code: Code.InvalidArgument }]);
  });
});
