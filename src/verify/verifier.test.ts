import { beforeEach, describe, expect, it } from "vitest";
import { FakeClocks } from "../../testkit/fakes/fake-clocks.ts";
import { fakeFound } from "../../testkit/fakes/fake-found.ts";
import type { FoundSecret } from "../keys/cached-secret.ts";
import { ClavigerError } from "../keys/errors.ts";
import type { Keyring } from "../keys/keyring.ts";
import { Lease } from "./lease.ts";
import { createReady } from "./ready-secret.ts";
import { SecretCache } from "./secret-cache.ts";
import { type LossFallback, Verifier } from "./verifier.ts";

const digestOf = (secret: string) => Buffer.from(secret);
let recognised: string[];
const keyring = {
  recognise(secret: string) {
    recognised.push(secret);
    return { kind: "genuine", digest: digestOf(secret) };
  },
} as Keyring;
const ask = (secret: string) => ({ secret, requiredScopes: [], clientIp: "" });

let clocks: FakeClocks;
let lease: Lease;
let cache: SecretCache;
let statements: string[][];
let answer: () => Promise<FoundSecret>;

function verifierWith(onLoss?: LossFallback, crowdedReads = 3): Verifier {
  return new Verifier({
    ...{ keyring, cache, onLoss, appliedRevision: () => 7, monotonicMs: () => clocks.monotonicMs() },
    ...{ timers: clocks, mostFinds: 3, findWaitMs: 100, mostReads: 3, crowdedReads, crowdedMs: 100 },
    ready: createReady({ clockRateError: 0.02, describe: () => "" }),
    find: async (digests) => {
      statements.push(digests.map(String));
      const found = await answer();
      return new Map(digests.map((digest) => [digest.toString("hex"), found]));
    },
  });
}

beforeEach(() => {
  clocks = new FakeClocks();
  lease = new Lease(clocks);
  const random = (bytes: number) => new Uint8Array(bytes);
  cache = new SecretCache({ lease, clocks, random, capacity: 10, maxAgeMs: 60_000 });
  [statements, recognised] = [[], []];
  answer = async () => fakeFound("key_a");
  lease.grant({ monotonicMs: clocks.monotonicMs(), wallMs: clocks.wallMs() }, 3000);
});

describe("a verifier", () => {
  it("reads a secret once, and answers from memory while its lease is live", async () => {
    const verifier = verifierWith();
    expect(await verifier.verify(ask("s"))).toMatchObject({ freshness: "authoritative", revision: 0 });
    expect(await verifier.verify(ask("s"))).toMatchObject({ freshness: "leased", revision: 7 });
    expect(verifier.verifyCached(ask("s"))?.decision.verdict).toBe("valid");
    expect(statements).toHaveLength(1);
  });

  it("reads each time without a lease, and keeps nothing", async () => {
    lease.end();
    const verifier = verifierWith();
    for (let i = 0; i < 2; i++) expect(await verifier.verify(ask("s"))).toMatchObject({ freshness: "authoritative" });
    expect([statements.length, cache.size]).toEqual([2, 0]);
  });

  it("asks for one secret once for all who wait, and for a batch in one statement", async () => {
    const verifier = verifierWith();
    await Promise.all([verifier.verify(ask("s")), verifier.verify(ask("s"))]);
    await verifier.verifyAll([ask("s"), ask("t"), ask("u")]);
    expect(statements).toEqual([["s"], ["t", "u"]]);
  });

  it("reads so many secrets at once, and refuses more, until some are read; memory answers all the while", async () => {
    const verifier = verifierWith();
    await verifier.verify(ask("known"));
    const gate = Promise.withResolvers<FoundSecret>();
    answer = () => gate.promise;
    const reading = ["s", "t", "u"].map((secret) => verifier.verify(ask(secret)));
    await expect(verifier.verify(ask("v"))).rejects.toMatchObject({ reason: "OVERLOADED", metadata: { limit: "3" } });
    expect(await verifier.verify(ask("known"))).toMatchObject({ freshness: "leased" });
    const joined = verifier.verify(ask("s"));
    gate.resolve(fakeFound("key_b"));
    expect(await Promise.all([...reading, joined])).toHaveLength(4);
    expect(await verifier.verify(ask("v"))).toMatchObject({ freshness: "authoritative" });
  });

  it("reads fewer at once once one was refused, and as many as before after a while without", async () => {
    const verifier = verifierWith(undefined, 2);
    let gate = Promise.withResolvers<FoundSecret>();
    answer = () => gate.promise;
    const reads = (secrets: string) => [...secrets].map((secret) => verifier.verify(ask(secret)));
    const end = async (reading: Promise<unknown>[]) => {
      gate.resolve(fakeFound("key_a"));
      await Promise.all(reading);
      gate = Promise.withResolvers();
    };
    const refusal = (limit: string) => ({ reason: "OVERLOADED", metadata: { limit } });
    const first = reads("abc");
    await expect(verifier.verify(ask("x"))).rejects.toMatchObject(refusal("3"));
    await end(first);
    const crowded = reads("de");
    await expect(verifier.verify(ask("x"))).rejects.toMatchObject(refusal("2"));
    await end(crowded);
    await clocks.pass(101);
    await end(reads("fgh"));
  });

  it("makes nothing of a secret that there is no room to read", async () => {
    answer = () => new Promise(() => undefined);
    const verifier = verifierWith();
    for (const secret of ["s", "t", "u"]) void verifier.verify(ask(secret));
    await expect(verifier.verify(ask("v"))).rejects.toMatchObject({ reason: "OVERLOADED" });
    expect(recognised).toEqual(["s", "t", "u"]);
  });

  it("reads the credentials of callers, however much is asked, and of those no more at once either", async () => {
    const gate = Promise.withResolvers<FoundSecret>();
    answer = () => gate.promise;
    const verifier = verifierWith();
    const reading = ["s", "t", "u"].map((secret) => verifier.verify(ask(secret)));
    await expect(verifier.verify(ask("v"))).rejects.toMatchObject({ reason: "OVERLOADED" });
    const callers = ["a", "b", "c"].map((secret) => verifier.verifyCaller(ask(secret)));
    await expect(verifier.verifyCaller(ask("d"))).rejects.toMatchObject({ reason: "OVERLOADED" });
    gate.resolve(fakeFound("key_a"));
    expect(await Promise.all([...reading, ...callers])).toHaveLength(6);
  });

  it("reads a batch that is larger, if it comes while there is room for one, and refuses it as a whole if not", async () => {
    const verifier = verifierWith();
    const gate = Promise.withResolvers<FoundSecret>();
    answer = () => gate.promise;
    const batch = verifier.verifyAll(["a", "b", "c", "d", "e"].map(ask));
    await expect(verifier.verify(ask("f"))).rejects.toMatchObject({ reason: "OVERLOADED" });
    await expect(verifier.verifyAll([ask("g"), ask("h")])).rejects.toMatchObject({ reason: "OVERLOADED" });
    gate.resolve(fakeFound("key_a"));
    expect(await batch).toHaveLength(5);
    expect(await verifier.verifyAll([ask("f"), ask("g")])).toHaveLength(2);
  });

  it("counts reads that nobody may join, as without a lease", async () => {
    lease.end();
    const gate = Promise.withResolvers<FoundSecret>();
    answer = () => gate.promise;
    const verifier = verifierWith();
    const reading = [1, 2, 3].map(() => verifier.verify(ask("s")));
    await expect(verifier.verify(ask("s"))).rejects.toMatchObject({ reason: "OVERLOADED" });
    gate.resolve(fakeFound("key_a"));
    await Promise.all(reading);
  });

  it("lets nobody join a read that began before a change", async () => {
    const gates = [Promise.withResolvers<FoundSecret>(), Promise.withResolvers<FoundSecret>()];
    answer = () => (gates[statements.length - 1] ?? Promise.withResolvers<FoundSecret>()).promise;
    const verifier = verifierWith();
    const before = verifier.verify(ask("s"));
    await Promise.resolve();
    cache.apply(["key_a"]);
    const after = verifier.verify(ask("s"));
    await Promise.resolve();
    gates[0]?.resolve(fakeFound("key_a"));
    gates[1]?.resolve(fakeFound("key_a", { key: { disabled: true } }));
    expect((await before).decision.verdict).toBe("valid");
    expect((await after).decision.verdict).toBe("disabled");
    expect((await verifier.verify(ask("s"))).decision.verdict).toBe("disabled");
  });
});

describe("a request that joins another's read", () => {
  it("is not told of a secret that has ended since that was read", async () => {
    const gate = Promise.withResolvers<FoundSecret>();
    answer = () => (statements.length === 1 ? gate.promise : Promise.resolve(ended));
    const found = fakeFound("key_a");
    const retireTime = new Date(found.now.getTime() + 100);
    const ended = { ...found, now: retireTime, secret: { ...found.secret, retireTime } };
    const verifier = verifierWith();
    const first = verifier.verify(ask("s"));
    await Promise.resolve();
    clocks.stall(150);
    const joined = verifier.verify(ask("s"));
    gate.resolve({ ...found, secret: { ...found.secret, retireTime } });
    expect((await first).decision.verdict).toBe("valid");
    expect((await joined).decision.verdict).toBe("retired");
  });
});

describe("a verifier without a database", () => {
  const away = new ClavigerError("STORAGE_UNAVAILABLE", "away");
  const undecided = new ClavigerError("LEASE_UNAVAILABLE", "undecided");
  async function lose(verifier: Verifier): Promise<void> {
    await verifier.verify(ask("s"));
    lease.end();
    answer = () => Promise.reject(away);
    statements = [];
  }

  it("answers nothing once its lease is over", async () => {
    const verifier = verifierWith();
    await lose(verifier);
    await expect(verifier.verify(ask("s"))).rejects.toBe(away);
  });

  it("answers what it has kept, once the revocation set confirms it, without asking the database in vain", async () => {
    const verifier = verifierWith({ isAway: () => true, confirm: async () => undefined });
    await lose(verifier);
    expect(await verifier.verify(ask("s"))).toMatchObject({ freshness: "revocation_set" });
    expect(statements).toEqual([]);
    await expect(verifier.verify(ask("other"))).rejects.toBe(away);
  });

  it("answers nothing where the set cannot confirm", async () => {
    const verifier = verifierWith({ isAway: () => true, confirm: () => Promise.reject(undecided) });
    await lose(verifier);
    await expect(verifier.verify(ask("s"))).rejects.toBe(undecided);
  });

  it("asks the database while that is not known to be away", async () => {
    const verifier = verifierWith({ isAway: () => false, confirm: () => Promise.reject(undecided) });
    await verifier.verify(ask("s"));
    lease.end();
    expect(await verifier.verify(ask("s"))).toMatchObject({ freshness: "authoritative" });
  });
});
