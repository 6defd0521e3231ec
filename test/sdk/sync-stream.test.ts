import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { connect as connectHttp2, constants } from "node:http2";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createWritableIterable } from "@connectrpc/connect/protocol";
import { createConnectTransport } from "@connectrpc/connect-node";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  KeyVerifier,
  type SyncRequest,
  SyncRequestSchema,
  type SyncResponse,
  UsageOutcome,
  Verdict,
} from "#gen/claviger/v1/key_verifier_pb.js";
import { UsageDimension, UsageStep } from "#gen/claviger/v1/usage_pb.js";
import { type Clients, startClaviger, type TestClaviger } from "../../testkit/claviger.ts";
import { eventually } from "../../testkit/eventually.ts";
import { type Refusal, refusalOf } from "../../testkit/refusal.ts";
import { makeKey } from "../rpc/make-key.ts";

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** For the cases that need no server of their own: to open its database is most of what they cost. */
let shared: TestClaviger;
beforeAll(async () => {
  shared = await startClaviger("embedded", { CLAVIGER_POLICY: "{}" });
});
afterAll(() => shared?.close());

async function startOne(policy: object): Promise<TestClaviger> {
  const claviger = await startClaviger("embedded", { CLAVIGER_POLICY: JSON.stringify(policy) });
  let closed: Promise<void> | undefined;
  const close = () => {
    closed ??= claviger.close();
    return closed;
  };
  closing.push(close);
  return { ...claviger, close };
}

function overConnect(url: string, token: string): Clients["verifier"] {
  const authorize: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
  const transport = createConnectTransport({ baseUrl: url, httpVersion: "2", interceptors: [authorize] });
  return createClient(KeyVerifier, transport);
}

type Said = NonNullable<MessageInitShape<typeof SyncRequestSchema>["message"]>;

/** So many streams that are taken back at once, before it is known whether their caller may open them. */
async function openAndReset(url: string, token: string, count: number): Promise<void> {
  const session = connectHttp2(url);
  const headers = {
    ...{ ":method": "POST", ":path": "/claviger.v1.KeyVerifier/Sync", te: "trailers" },
    ...{ "content-type": "application/grpc+proto", authorization: `Bearer ${token}` },
  };
  const streams = Array.from({ length: count }, () => session.request(headers));
  for (const stream of streams) stream.on("error", () => undefined);
  // A reset that is asked for before the headers are sent keeps them back.
  await new Promise((resolve) => setImmediate(resolve));
  for (const stream of streams) stream.close(constants.NGHTTP2_CANCEL);
  await Promise.all(streams.map((stream) => once(stream, "close")));
  session.close();
}

/** One who has no keys yet. */
const newOwner = () => `sync-${randomUUID()}`;
const newEpoch = () => randomBytes(8).toString("hex");
const DAY_SECONDS = 86_400n;
const STOPPING = { code: "Unavailable", reason: "SHUTTING_DOWN", hasRetryInfo: true };

/** A report of five uses of the key, of now, as whoever was given that proof may make it. */
function reportOf(
  { id, usageProof }: { readonly id: string; readonly usageProof: Uint8Array },
  name: { readonly epoch: string; readonly sequence: bigint },
): Said {
  const lastTime = { seconds: nowSeconds(), nanos: 0 };
  const use = { keyId: id, secretVersion: 1, verdict: Verdict.VALID, method: "/a.B/C", usageProof, lastTime };
  return { case: "usage", value: { ...name, deltas: [{ ...use, count: 5, cost: 5n }] } };
}

/** The proof that comes with what the server says of a secret. */
async function proofOf(clients: Pick<Clients, "verifier">, secret: string): Promise<Uint8Array> {
  const stream = await openLeased(clients);
  await stream.say(ask(1n, secret));
  const { entry } = await stream.hear("answer");
  stream.close();
  if (entry === undefined) throw new Error("nothing may be kept of it; correct the test");
  return entry.usageProof;
}

/** Uses of the key. */
async function totalOf({ keys }: Clients, keyId: string): Promise<bigint> {
  return (await keys.queryUsage({ keyId, step: UsageStep.DAY, ...today() })).total;
}

function nowSeconds(): bigint {
  return BigInt(Math.floor(Date.now() / 1000));
}

/** And yesterday: it may be just after midnight. */
function today() {
  const begin = (nowSeconds() / DAY_SECONDS) * DAY_SECONDS;
  return { startTime: { seconds: begin - DAY_SECONDS }, endTime: { seconds: begin + DAY_SECONDS } };
}

async function openLeased(clients: Pick<Clients, "verifier">) {
  const stream = open(clients);
  await stream.say({ case: "lease", value: { nonce: 1n } });
  await stream.hear("lease");
  return stream;
}

/** A stream as whoever writes a client from the proto would have it. */
function open({ verifier }: Pick<Clients, "verifier">, signal?: AbortSignal) {
  const outgoing = createWritableIterable<SyncRequest>();
  const heard: SyncResponse["message"][] = [];
  const ended = (async () => {
    try {
      for await (const { message } of verifier.sync(outgoing, signal && { signal })) heard.push(message);
      return undefined;
    } catch (error) {
      return error;
    }
  })();
  closing.push(() => outgoing.close());
  const say = (message: Said) => outgoing.write(create(SyncRequestSchema, { message }));
  const hear = async <Case extends NonNullable<SyncResponse["message"]["case"]>>(name: Case, nth = 1) => {
    const all = () => heard.filter((message) => message.case === name);
    await eventually(() => expect(all().length).toBeGreaterThanOrEqual(nth));
    return all()[nth - 1]?.value as Extract<SyncResponse["message"], { case: Case }>["value"];
  };
  return { say, hear, heard, ended, close: () => outgoing.close() };
}

const ask = (id: bigint, secret: string): Said => ({ case: "ask", value: { id, request: { secret } } });

async function codeOfEnd(ended: Promise<unknown>): Promise<Code | undefined> {
  const error = await ended;
  return error instanceof ConnectError ? error.code : undefined;
}

function refusalOfEnd({ ended }: { readonly ended: Promise<unknown> }): Promise<Refusal> {
  return refusalOf(ended.then((error) => error !== undefined && Promise.reject(error)));
}

describe.each(["past the router", "through the router"])("a stream of Sync %s", (way) => {
  /** Connect's own protocol is served by the router; plain gRPC is not. */
  const using = (claviger: TestClaviger) => {
    const { url, adminToken, admin } = claviger;
    const as = (token: string) =>
      way === "past the router" ? claviger.as(token) : { verifier: overConnect(url, token) };
    return { url, claviger, as, admin: { ...admin, ...as(adminToken) } };
  };
  const start = async (policy: object) => using(await startOne(policy));

  it("leases, answers, reports changes, and waits until they are applied", async () => {
    const { admin } = using(shared);
    const { id, secret } = await makeKey(admin, { owner: newOwner() });
    const stream = open(admin);
    await stream.say({ case: "lease", value: { nonce: 7n } });
    const lease = await stream.hear("lease");
    expect(lease.nonce).toBe(7n);
    expect(lease.remaining && durationMs(lease.remaining)).toBeGreaterThan(0);
    await stream.say(ask(1n, secret));
    await stream.hear("answer");
    await stream.say(ask(2n, secret));
    const { result, entry } = await stream.hear("answer", 2);
    expect(result.value).toMatchObject({ verdict: Verdict.VALID });
    expect(entry).toMatchObject({ standing: Verdict.VALID, allowedCidrs: [] });
    expect(entry?.freshFor && durationMs(entry.freshFor)).toBeGreaterThan(0);
    let isDone = false;
    const revoked = admin.keys.revokeKey({ keyId: id }).then(() => {
      isDone = true;
    });
    const change = await stream.hear("change");
    expect([change.keyIds, change.allKeys, isDone]).toEqual([[id], false, false]);
    await stream.say({ case: "applied", value: { sequence: change.sequence } });
    await revoked;
  });

  it("delays a revocation by at most its lease if its client does not answer", async () => {
    const { admin } = using(shared);
    const { id, secret } = await makeKey(admin, { owner: newOwner() });
    const stream = open(admin);
    await stream.say({ case: "lease", value: { nonce: 1n } });
    await stream.say(ask(1n, secret));
    await stream.hear("answer");
    const began = performance.now();
    await admin.keys.revokeKey({ keyId: id });
    expect(performance.now() - began).toBeLessThan(3000);
  });

  it("sends no entry for a key with limits, and charges every question about it", async () => {
    const { admin } = using(shared);
    const limits = { requestsPerDay: 2 };
    const { secret } = await makeKey(admin, { owner: newOwner(), limits });
    const stream = open(admin);
    await stream.say({ case: "lease", value: { nonce: 1n } });
    const verdicts: unknown[] = [];
    for (const id of [1, 2, 3]) {
      await stream.say(ask(BigInt(id), secret));
      const { result, entry } = await stream.hear("answer", id);
      verdicts.push(result.case === "response" && result.value.verdict);
      expect(entry).toBeUndefined();
    }
    expect(verdicts).toEqual([Verdict.VALID, Verdict.VALID, Verdict.QUOTA_EXHAUSTED]);
  });

  it("accepts a report once, however often it is sent, and ends on an invalid report", async () => {
    const { admin } = using(shared);
    const { id, secret } = await makeKey(admin, { owner: newOwner() });
    const usageProof = await proofOf(admin, secret);
    const stream = open(admin);
    const oneEpoch = newEpoch();
    const report = (sequence: bigint, epoch = oneEpoch) => reportOf({ id, usageProof }, { epoch, sequence });
    const outcomes = [];
    for (const [at, sent] of [report(1n), report(1n), report(2n), report(9n)].entries()) {
      await stream.say(sent);
      outcomes.push((await stream.hear("usage", at + 1)).outcome);
    }
    const { TAKEN, GAP } = UsageOutcome;
    expect(outcomes).toEqual([TAKEN, TAKEN, TAKEN, GAP]);
    // The proof came with an answer, which the server has counted.
    await eventually(async () => expect(await totalOf(admin, id)).toBe(11n));
    await stream.say(report(1n, "not an epoch"));
    expect(await codeOfEnd(stream.ended)).toBe(Code.InvalidArgument);
  });

  it("counts the reports of two callers with the same epoch", async () => {
    const { admin, as } = using(shared);
    const { id, secret } = await makeKey(admin, { owner: newOwner() });
    const agent = await makeKey(admin, { owner: newOwner(), scopes: ["claviger:verify"] });
    const epoch = newEpoch();
    for (const caller of [admin, as(agent.secret)]) {
      const usageProof = await proofOf(caller, secret);
      const stream = open(caller);
      await stream.say(reportOf({ id, usageProof }, { epoch, sequence: 1n }));
      expect((await stream.hear("usage")).outcome).toBe(UsageOutcome.TAKEN);
    }
    await eventually(async () => expect(await totalOf(admin, id)).toBe(12n));
  });

  it("is refused beyond the limit of a process, and accepted once another has ended", async () => {
    const { admin } = await start({ sync: { streams: 1 } });
    const first = await openLeased(admin);
    expect(await refusalOfEnd(open(admin))).toMatchObject({
      ...{ code: "Unavailable", reason: "OVERLOADED", metadata: { limit: "1" }, hasRetryInfo: true },
    });
    first.close();
    await eventually(async () => {
      const next = open(admin);
      next.close();
      expect(await next.ended).toBeUndefined();
    });
  });

  it("is refused while the server stops and waits for its granted leases", async () => {
    const { admin, claviger } = await start({ sync: { closeMs: 60_000 } });
    const stream = await openLeased(admin);
    const closed = claviger.close();
    await stream.hear("closing");
    expect(await refusalOfEnd(open(admin))).toMatchObject(STOPPING);
    await stream.say({ case: "giveBack", value: {} });
    expect(await stream.ended).toBeUndefined();
    await closed;
  });

  it("is ended with a reason if its lease is not given back to a stopping server", async () => {
    const { admin, claviger } = await start({ sync: { closeMs: 50 } });
    const stream = await openLeased(admin);
    const closed = claviger.close();
    expect(await refusalOfEnd(stream)).toMatchObject(STOPPING);
    expect(stream.heard.at(-1)?.case).toBe("closing");
    await closed;
  });

  it("drops secrets and unstorable texts from a report, and accepts the rest", async () => {
    const { admin } = using(shared);
    const { id, secret } = await makeKey(admin, { owner: newOwner() });
    const usageProof = await proofOf(admin, secret);
    const stream = open(admin);
    const lastTime = { seconds: nowSeconds(), nanos: 0 };
    const delta = { keyId: id, secretVersion: 1, verdict: Verdict.VALID, count: 1, lastTime, usageProof };
    const deltas = [`/a.B/${secret}`, "/a.B/\0"].map((method) => ({ ...delta, method }));
    await stream.say({ case: "usage", value: { epoch: newEpoch(), sequence: 1n, deltas } });
    expect((await stream.hear("usage")).outcome).toBe(UsageOutcome.TAKEN);
    await eventually(async () => {
      const { points, total } = await admin.keys.queryUsage({
        ...{ keyId: id, step: UsageStep.DAY, groupBy: [UsageDimension.METHOD], ...today() },
      });
      expect(total).toBe(3n);
      expect(JSON.stringify(points.map(({ group }) => group))).not.toContain(secret);
    });
  });

  it("leaves nothing behind after its client is gone and its lease is over", async () => {
    const { admin, url } = using(shared);
    const { secret } = await makeKey(admin, { owner: newOwner() });
    const gone = new AbortController();
    const attached = async () => (await (await fetch(`${url}/metrics`)).text()).match(/attached_verifiers (\d+)/)?.[1];
    await eventually(async () => expect(await attached()).toBe("0"));
    const streams = Array.from({ length: 30 }, () => open(admin, gone.signal));
    for (const [at, stream] of streams.entries()) {
      await stream.say({ case: "lease", value: { nonce: 1n } });
      for (let id = 0n; id < at; id += 1n) void stream.say(ask(id, secret)).catch(() => undefined);
    }
    await Promise.all(streams.map((stream) => stream.hear("lease")));
    expect(await attached()).toBe("30");
    gone.abort();
    await eventually(async () => expect(await attached()).toBe("0"));
  });

  it("may be cancelled at once, and the server goes on", async () => {
    const { admin, url } = using(shared);
    for (let turn = 0; turn < 5; turn++) {
      // Not in memory, so that it is read from the database who calls.
      const { secret } = await makeKey(admin, { owner: newOwner(), scopes: ["claviger:verify"] });
      await openAndReset(url, secret, 50);
    }
    const stream = open(admin);
    await stream.say({ case: "lease", value: { nonce: 1n } });
    expect((await stream.hear("lease")).nonce).toBe(1n);
  });

  it("may last longer than the time limit for request bytes", async () => {
    const { admin } = await start({ port: { idleBytesPerSecond: 100 } });
    const { secret } = await makeKey(admin, { owner: newOwner() });
    const stream = open(admin);
    const count = 3000;
    for (let id = 1; id <= count; id++) {
      await stream.say(ask(BigInt(id), secret));
      if (id % 50 === 0) await stream.hear("answer", id);
    }
    expect(await stream.hear("answer", count)).toBeDefined();
  });
});
