import { randomBytes } from "node:crypto";
import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { sql } from "drizzle-orm";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from "vitest";
import {
  type SyncResponse,
  SyncResponseSchema,
  type UsageDelta,
  UsageOutcome,
  Verdict,
} from "#gen/claviger/v1/key_verifier_pb.js";
import { UsageDimension, UsageStep } from "#gen/claviger/v1/usage_pb.js";
import { usageRejected, usageSource } from "../../src/postgres/schema.ts";
import { type Clients, connect, startClaviger, type TestClaviger } from "../../testkit/claviger.ts";
import { eventually } from "../../testkit/eventually.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { openRaw, type Said, said } from "../../testkit/raw-sync.ts";
import { startServer } from "../../testkit/server-process.ts";
import { type MadeKey, makeKey } from "../rpc/make-key.ts";

const QUICK = { CLAVIGER_POLICY: JSON.stringify({ usage: { flushMs: 50, foldMs: 50 } }), CLAVIGER_LEASE_MS: "3000" };
const DAY_SECONDS = 86_400n;
const MOST_INT64 = 2n ** 63n - 1n;
/** A cost that stands just below the end of `bigint`, and one that a double rounds to beyond it. */
const COSTS = [9_223_372_036_854_774_784n, MOST_INT64];

const WITHOUT_PROOF: Mutation = {
  file: "src/usage/agent-reports.ts",
  find: 'if (read.kind !== "genuine") return "proof";',
  replace: 'if (read.kind !== "genuine") return row;',
};
const WITHOUT_METHOD_BOUND: Mutation = {
  file: "src/postgres/usage-ledger.ts",
  find: "as fresh where place > ",
  replace: "as fresh where place > 1000 + ",
};

type Row = Partial<Pick<UsageDelta, "keyId" | "secretVersion" | "verdict" | "method" | "count" | "cost">> & {
  readonly lastTime?: { readonly seconds: bigint };
  readonly usageProof?: Uint8Array;
};
type Named = NonNullable<SyncResponse["message"]["case"]>;

const closing: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const newEpoch = () => randomBytes(16).toString("hex");
const nowSeconds = () => BigInt(Math.floor(Date.now() / 1000));

/** What a stranger may say of a key, unless the changes say otherwise. */
const rowOf = (keyId: string, changes: Row = {}): Row => ({
  ...{ keyId, secretVersion: 1, verdict: Verdict.VALID, method: "/shop/Buy", count: 1, cost: 1n },
  ...{ lastTime: { seconds: nowSeconds() }, ...changes },
});

/** A stream as bytes, and what was said on it. */
function openSync(url: string, token: string) {
  const { session, stream, trailers } = openRaw({ url, adminToken: token });
  const heard: SyncResponse["message"][] = [];
  let rest = Buffer.alloc(0);
  stream.on("data", (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
      const end = 5 + rest.readUInt32BE(1);
      heard.push(fromBinary(SyncResponseSchema, rest.subarray(5, end)).message);
      rest = rest.subarray(end);
    }
  });
  let isOver = false;
  stream.on("close", () => {
    isOver = true;
  });
  const close = () => session.destroy();
  closing.push(close);
  const say = (message: Said) => void stream.write(said(message));
  const all = <Case extends Named>(name: Case) =>
    heard.filter((message) => message.case === name).map(({ value }) => value) as Extract<
      SyncResponse["message"],
      { case: Case }
    >["value"][];
  const hear = async <Case extends Named>(name: Case, nth = 1) => {
    await eventually(() => expect(all(name).length).toBeGreaterThanOrEqual(nth));
    return all(name)[nth - 1] as ReturnType<typeof all<Case>>[number];
  };
  const report = (deltas: Row[], { epoch = newEpoch(), sequence = 1n } = {}) =>
    say({ case: "usage", value: { epoch, sequence, deltas } });
  let reports = 0;
  const reportAndHear = async (deltas: Row[], name?: { epoch: string; sequence: bigint }) => {
    reports += 1;
    report(deltas, name);
    return (await hear("usage", reports)).outcome;
  };
  const statusAtEnd = async () => {
    await eventually(() => expect(isOver || "grpc-status" in trailers).toBe(true));
    return trailers["grpc-status"];
  };
  return { say, hear, all, report, reportAndHear, statusAtEnd, close };
}

/** The proof that comes with what the server says of the secret, to this caller. */
async function proofOf(url: string, token: string, secret: string): Promise<Uint8Array> {
  const sync = openSync(url, token);
  sync.say({ case: "lease", value: { nonce: 1n } });
  await sync.hear("lease");
  sync.say({ case: "ask", value: { id: 1n, request: { secret } } });
  const { entry } = await sync.hear("answer");
  sync.close();
  if (entry === undefined) throw new Error("nothing may be kept of it; correct the test");
  return entry.usageProof;
}

async function usageOf({ keys }: Clients, keyId: string, groupBy: UsageDimension[] = []) {
  const begin = (nowSeconds() / DAY_SECONDS) * DAY_SECONDS;
  const span = { startTime: { seconds: begin - DAY_SECONDS }, endTime: { seconds: begin + DAY_SECONDS } };
  return await keys.queryUsage({ keyId, step: UsageStep.DAY, groupBy, ...span });
}
const totalOf = async (clients: Clients, keyId: string) => Number((await usageOf(clients, keyId)).total);

describe("an agent that sends arbitrary reports", () => {
  let claviger: TestClaviger;
  let admin: Clients;
  /** The key that the agent calls with. */
  let agent: MadeKey;
  let owners = 0;
  beforeAll(async () => {
    claviger = await startClaviger("embedded", QUICK);
    admin = claviger.admin;
    agent = await makeKey(admin, { owner: "agent", scopes: ["claviger:verify"] });
  });
  afterAll(() => claviger?.close());

  const newKey = (changes: object = {}) => makeKey(admin, { owner: `owner-${++owners}`, ...changes });
  const hostile = () => openSync(claviger.url, agent.secret);
  const verify = async (secret: string, method = "/shop/Buy") =>
    (await admin.verifier.verify({ secret, method })).verdict;
  const metric = async (name: string) => {
    const text = await (await fetch(`${claviger.url}/metrics`)).text();
    return Number(new RegExp(`^${name} (\\d+)$`, "m").exec(text)?.[1]);
  };
  const refusedRows = () => metric("claviger_usage_reported_rows_refused_total");

  it("counts nothing for keys that it did not look up, and their real counts stay right", async () => {
    const [victim, other] = [await newKey(), await newKey()];
    const before = await refusedRows();
    const sync = hostile();
    const rows = COSTS.map((cost) => rowOf(victim.id, { cost }));
    const many = rowOf(victim.id, { count: 1_000_000, cost: 1_000_000n });
    expect(await sync.reportAndHear([...rows, many])).toBe(UsageOutcome.TAKEN);
    for (let turn = 0; turn < 5; turn++) {
      for (const { secret } of [victim, other]) expect(await verify(secret)).toBe(Verdict.VALID);
    }
    await eventually(async () => expect(await totalOf(admin, other.id)).toBe(5));
    expect(await totalOf(admin, victim.id)).toBe(5);
    expect(await refusedRows()).toBe(before + 3);
    expect(await claviger.storage.read((database) => database.$count(usageRejected))).toBe(0);
  });

  it("does not set the last use of a key that it did not look up", async () => {
    const victim = await newKey();
    const marked = await newKey();
    await hostile().reportAndHear([rowOf(victim.id)]);
    expect(await verify(marked.secret)).toBe(Verdict.VALID);
    const lastUsed = async (keyId: string) => (await admin.keys.getKey({ keyId })).key?.lastUsedTime;
    await eventually(async () => expect(await lastUsed(marked.id)).toBeDefined());
    expect(await lastUsed(victim.id)).toBeUndefined();
  });

  it("does not use up the quota of a key that it did not look up, nor raise another limit", async () => {
    const fresh = await newKey({ limits: { requestsPerDay: 100 } });
    const limited = await newKey({ limits: { requestsPerDay: 20 } });
    const sync = hostile();
    await sync.reportAndHear([rowOf(fresh.id, { count: 1_000_000, cost: 1_000_000n })]);
    expect(await verify(fresh.secret)).toBe(Verdict.VALID);
    const verdicts: Verdict[] = [];
    for (let turn = 0; turn < 27; turn++) {
      await sync.reportAndHear([rowOf(limited.id, { cost: MOST_INT64 })]);
      verdicts.push(await verify(limited.secret));
    }
    expect(verdicts.filter((verdict) => verdict === Verdict.VALID)).toHaveLength(20);
  });

  it("counts with a proof within possible bounds, and never stops honest agents", async () => {
    const [given, other] = [await newKey(), await newKey()];
    const usageProof = await proofOf(claviger.url, agent.secret, given.secret);
    const sync = hostile();
    const times = [0n, 253_402_300_799n].map((seconds) => rowOf(given.id, { usageProof, lastTime: { seconds } }));
    const costs = COSTS.map((cost) => rowOf(given.id, { usageProof, cost }));
    const most = rowOf(given.id, { usageProof, count: 600_000_000, cost: 600_000_000n * (2n ** 31n - 1n) });
    const before = await refusedRows();
    await sync.reportAndHear([...times, ...costs, most, most, most]);
    // The stranger's key is no other's, nor is this one anybody's.
    await openSync(claviger.url, claviger.adminToken).reportAndHear([rowOf(given.id, { usageProof })]);
    expect(await refusedRows()).toBe(before + COSTS.length + 1);
    for (const { secret } of [given, other]) expect(await verify(secret)).toBe(Verdict.VALID);
    await eventually(async () => expect(await totalOf(admin, other.id)).toBe(1));
    // Asked once to be given it, and verified once.
    expect(await totalOf(admin, given.id)).toBe(1_800_000_000 + 2 + 2);
    const { key } = await admin.keys.getKey({ keyId: given.id });
    expect(Number(key?.lastUsedTime?.seconds)).toBeLessThanOrEqual(Date.now() / 1000);
  });

  it("is cut off for an empty report or an invalid sequence number", async () => {
    for (const value of [
      { epoch: newEpoch(), sequence: 1n, deltas: [] },
      { epoch: newEpoch(), sequence: MOST_INT64, deltas: [rowOf(agent.id)] },
    ]) {
      const sync = hostile();
      sync.say({ case: "usage", value });
      expect(await sync.statusAtEnd()).toBe("3");
    }
  });

  it("begins at most a thousand epochs a minute, and every other caller goes on", async () => {
    const flooder = await makeKey(admin, { owner: "flooder", scopes: ["claviger:verify"] });
    const victim = await newKey();
    const sync = openSync(claviger.url, flooder.secret);
    const minute = () => Math.floor(Date.now() / 60_000);
    const began = minute();
    for (let at = 0; at < 1100; at += 100) {
      for (let more = 0; more < 100; more++) sync.report([rowOf(victim.id)]);
      await sync.hear("usage", at + 100);
    }
    const minutes = minute() - began + 1;
    const outcomes = sync.all("usage").map(({ outcome }) => outcome);
    if (minutes === 1) expect(outcomes).toContain(UsageOutcome.UNAVAILABLE);
    const rows = await claviger.storage.read((database) =>
      database.$count(usageSource, sql`starts_with(epoch, ${`${flooder.id}/`})`),
    );
    expect(rows).toBeLessThanOrEqual(1000 * minutes);
    expect(outcomes.filter((outcome) => outcome === UsageOutcome.TAKEN)).toHaveLength(rows);
    expect(await hostile().reportAndHear([rowOf(victim.id)])).toBe(UsageOutcome.TAKEN);
  });

  it("cannot fill a table with methods, and neither can callers of Verify", async () => {
    const [reported, verified] = [await newKey(), await newKey()];
    const usageProof = await proofOf(claviger.url, agent.secret, reported.secret);
    const methods = Array.from({ length: 140 }, (_, at) => `/shop/${at}`);
    expect(await hostile().reportAndHear(methods.map((method) => rowOf(reported.id, { usageProof, method })))).toBe(
      UsageOutcome.TAKEN,
    );
    for (const method of methods) await verify(verified.secret, method);
    for (const { id } of [reported, verified]) {
      const expected = id === reported.id ? 141 : 140;
      await eventually(async () => expect(await totalOf(admin, id)).toBe(expected));
      await eventually(async () => {
        const { points } = await usageOf(admin, id, [UsageDimension.METHOD]);
        const names = new Set(points.filter(({ count }) => count > 0n).map(({ group }) => group.method));
        expect(names).toContain("(other methods)");
        // The first question of the agent named none; an hour may end in the middle.
        expect(names.size).toBeLessThanOrEqual(202);
      });
    }
  });

  it("stops no fold, no QueryUsage and no limit beside honest verification", async () => {
    const [free, limited] = [await newKey(), await newKey({ limits: { requestsPerDay: 40 } })];
    const given = await newKey();
    const usageProof = await proofOf(claviger.url, agent.secret, given.secret);
    const proofs = fc.constantFrom(new Uint8Array(), usageProof, usageProof.subarray(1), new Uint8Array(24));
    const anyRow: fc.Arbitrary<Row> = fc.record({
      keyId: fc.constantFrom(free.id, limited.id, given.id),
      secretVersion: fc.constantFrom(1, 2, 2 ** 31 - 1),
      verdict: fc.constantFrom(
        ...[Verdict.MALFORMED, Verdict.UNKNOWN, Verdict.REVOKED, Verdict.QUOTA_EXHAUSTED, Verdict.VALID],
      ),
      method: fc.constantFrom("", "/shop/Buy", "\0", "(other methods)", "é".repeat(128)),
      count: fc.constantFrom(1, 600_000_000, 2 ** 31 - 1),
      cost: fc.constantFrom(0n, 1n, ...COSTS),
      lastTime: fc.constantFrom({ seconds: 0n }, { seconds: nowSeconds() }, { seconds: 253_402_300_799n }),
      usageProof: proofs,
    });
    const report = fc.array(anyRow, { minLength: 1, maxLength: 20 });
    let [honest, valid] = [0, 0];
    await fc.assert(
      fc.asyncProperty(fc.array(report, { minLength: 1, maxLength: 3 }), async (reports) => {
        const sync = hostile();
        for (const rows of reports) expect(await sync.reportAndHear(rows)).toBe(UsageOutcome.TAKEN);
        sync.close();
        for (let turn = 0; turn < 2; turn++) {
          expect(await verify(free.secret)).toBe(Verdict.VALID);
          if ((await verify(limited.secret)) === Verdict.VALID) valid += 1;
          honest += 1;
        }
        for (const { id } of [free, limited, given]) await totalOf(admin, id);
      }),
      { numRuns: 22 },
    );
    expect(valid).toBe(40);
    for (const { id } of [free, limited]) await eventually(async () => expect(await totalOf(admin, id)).toBe(honest));
    expect(await claviger.storage.read((database) => database.$count(usageRejected))).toBe(0);
  });
});

describe("control: a server without proofs and without a limit on methods", () => {
  it("counts invented usage, under invented methods", async () => {
    const folder = await mkdtemp(join(tmpdir(), "claviger-control-"));
    closing.push(() => rm(folder, { recursive: true, force: true }));
    await cp(inject("embedded").template, join(folder, "database"), { recursive: true });
    const server = await startServer({
      cwd: folder,
      env: { ...QUICK, CLAVIGER_DATA_DIR: folder, CLAVIGER_LOG_LEVEL: "silent" },
      mutate: [WITHOUT_PROOF, WITHOUT_METHOD_BOUND],
    });
    closing.push(() => server.stop());
    const admin = connect(server.url, (await readFile(join(folder, "admin-key"), "utf8")).trim());
    const agent = await makeKey(admin, { owner: "agent", scopes: ["claviger:verify"] });
    const { id } = await makeKey(admin, { owner: "victim" });
    const rows = Array.from({ length: 140 }, (_, at) => rowOf(id, { method: `/shop/${at}`, count: 1000 }));
    await openSync(server.url, agent.secret).reportAndHear(rows);
    await eventually(async () => {
      const { points, total } = await usageOf(admin, id, [UsageDimension.METHOD]);
      expect(total).toBe(140_000n);
      expect(new Set(points.map(({ group }) => group.method)).size).toBe(140);
    });
  });
});
