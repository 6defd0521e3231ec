import { durationFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, expect, it } from "vitest";
import { AuditOutcome } from "#gen/claviger/v1/audit_pb.js";
import { type Key, KeyState } from "#gen/claviger/v1/key_pb.js";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { bootstrapAdmin } from "../../src/server/bootstrap.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { type Clients, connect, TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { createTestDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { type Refusal, refusalOf } from "../../testkit/refusal.ts";
import { type ServerProcess, startServer } from "../../testkit/server-process.ts";
import { type MadeKey, makeKey } from "../rpc/make-key.ts";
import { type HeldLock, holdLock } from "./held-lock.ts";

const OWNER = "outrun";
const REQUEST_ID = "0198f7a0-1c5e-7c3a-9f00-5a1e0c3b2d11";
const SUCCESSES_BEFORE_REVOCATION = 60;
const REFUSALS_AFTER_REVOCATION = 5;

/** The control: what the gate saw is believed until the commit. */
const BELIEVING_THE_GATE: readonly Mutation[] = [
  { file: "src/manage/steps/lock.ts", find: 'if (verdict !== "valid") throw credentialInvalid(verdict);', replace: "" },
  { file: "src/manage/steps/lock.ts", find: "{ ...caller, scopes: held?.scopes ?? [] }", replace: "caller" },
];
const WITHOUT_LOCKS: readonly Mutation[] = [{ file: "src/postgres/keys.ts", find: ".for(strength)", replace: "" }];

describeWithPostgres("a key that races its own revocation", () => {
  let database: TestDatabase;
  let servers: ServerProcess[];
  let token: string;
  let admin: Clients;
  const as = (secret: string, server = 0) => connect(servers[server]?.url ?? "", secret);
  const start = (mutations: readonly Mutation[]) => {
    const env = { DATABASE_URL: database.url, CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET, CLAVIGER_LOG_LEVEL: "silent" };
    return startServer({ env, mutate: mutations });
  };

  beforeAll(async () => {
    database = await createTestDatabase();
    const env = { DATABASE_URL: database.url, CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET, CLAVIGER_LOG_LEVEL: "silent" };
    token = (await bootstrapAdmin(await loadConfig(env))).secret.reveal();
    servers = await Promise.all([[], [], BELIEVING_THE_GATE, WITHOUT_LOCKS].map(start));
    admin = as(token, 1);
  });
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop()));
    await database.drop();
  });

  /** Everything that calls which began after the revocation was answered could get, whatever way is tried. */
  async function attackWhileRevoked(attacker: MadeKey, victims: readonly MadeKey[]) {
    const successes: { readonly began: number; readonly secret: string }[] = [];
    let returned = Number.POSITIVE_INFINITY;
    let newest = attacker.secret;
    const ways: readonly ((clients: Clients, turn: number) => Promise<string>)[] = [
      async ({ keys }, turn) => (await keys.createKey({ owner: `${OWNER}-made-${turn}`, displayName: "k" })).secret,
      async ({ keys }, turn) =>
        (await keys.rotateKey({ keyId: victims[turn % victims.length]?.id ?? "", gracePeriod: {} })).secret,
      async ({ keys }, turn) => {
        const key = { id: victims[turn % victims.length]?.id ?? "", scopes: [`wide:${turn}`] };
        await keys.updateKey({ key, updateMask: { paths: ["scopes"] } });
        return "";
      },
      async ({ keys }) => {
        newest = (await keys.rotateKey({ keyId: attacker.id, gracePeriod: durationFromMs(1000) })).secret;
        return newest;
      },
    ];
    const loop = async (way: (typeof ways)[number], server: number) => {
      let refusedAfterwards = 0;
      for (let turn = server; refusedAfterwards < REFUSALS_AFTER_REVOCATION; turn += 2) {
        const began = performance.now();
        const secret = await way(as(newest, server), turn).catch(() => undefined);
        if (secret !== undefined) successes.push({ began, secret });
        else if (began > returned) refusedAfterwards++;
        if (successes.some((success) => success.began > returned)) return;
      }
    };
    const loops = ways.flatMap((way) => [loop(way, 0), loop(way, 1)]);
    try {
      const enough = () => expect(successes.length).toBeGreaterThan(SUCCESSES_BEFORE_REVOCATION);
      await eventually(enough, { withinMs: 20_000 });
      const { key } = await admin.keys.revokeKey({ keyId: attacker.id });
      returned = performance.now();
      return { successes, returned, revoked: timeOf(key?.revokeTime), newest: () => newest };
    } finally {
      returned = Math.min(returned, performance.now());
      await Promise.all(loops);
    }
  }

  it("gets nothing by any call that began after RevokeKey returned, and minted nothing after its revocation", async () => {
    const victims = await Promise.all(
      Array.from({ length: 4 }, () => makeKey(admin, { owner: `${OWNER}-victim`, scopes: ["a:b"] })),
    );
    const attacker = await makeKey(admin, { owner: OWNER, scopes: ["claviger:*"] });
    const { successes, returned, newest, revoked } = await attackWhileRevoked(attacker, victims);
    expect(successes.filter(({ began }) => began > returned)).toEqual([]);

    const keys = await allKeys(admin);
    const made = keys.filter((key) => key.createdBy?.keyId === attacker.id);
    expect(made.length).toBeGreaterThan(0);
    expect(made.filter((key) => timeOf(key.createTime) > revoked)).toEqual([]);
    const versions = keys.flatMap((key) => key.secrets);
    expect(versions.filter((version) => timeOf(version.createTime) > revoked)).toEqual([]);
    expect((await admin.verifier.verify({ secret: newest() })).verdict).toBe(Verdict.REVOKED);

    const { events } = await admin.keys.listAuditEvents({ actor: attacker.id, pageSize: 1000 });
    const done = events.filter((event) => event.outcome === AuditOutcome.DONE);
    expect(done.length).toBeGreaterThanOrEqual(successes.length);
    expect(done.filter((event) => timeOf(event.time) > revoked)).toEqual([]);
    expect(events.some((event) => event.outcome === AuditOutcome.DENIED)).toBe(true);
  });

  /** A call that has passed the gate and waits, while its authority is taken away; then it goes on. */
  async function callAcross(options: {
    readonly lock: HeldLock;
    readonly call: () => Promise<unknown>;
    readonly takeAway: () => Promise<unknown>;
  }): Promise<Refusal | "done"> {
    const { lock, call, takeAway } = options;
    try {
      const answer = call();
      const outcome = answer.then(
        () => "done" as const,
        () => refusalOf(answer),
      );
      await lock.waiters(1);
      await takeAway();
      await lock.release();
      return await outcome;
    } finally {
      await lock.release();
    }
  }

  const holdOwner = (owner: string) =>
    holdLock(database.url, (sql) => sql`select id from key_owner where id = ${owner} for update`);
  const holdKey = (id: string) =>
    holdLock(database.url, (sql) => sql`select id from api_key where id = ${id} for update`);

  interface Race {
    /** The key that the call is about; made before the caller's own, and so locked first. */
    readonly target: MadeKey;
    readonly caller: MadeKey;
  }
  async function prepare(): Promise<Race> {
    const target = await makeKey(admin, { owner: OWNER, scopes: ["a:b"] });
    return { target, caller: await makeKey(admin, { owner: `${OWNER}-caller`, scopes: ["claviger:keys.write"] }) };
  }

  const calls = {
    CreateKey: {
      hold: () => holdOwner(OWNER),
      call: ({ keys }: Clients) => keys.createKey({ owner: OWNER, displayName: "minted" }),
    },
    RotateKey: {
      hold: () => holdOwner(OWNER),
      call: ({ keys }: Clients, { target }: Race) => keys.rotateKey({ keyId: target.id }),
    },
    UpdateKey: {
      hold: ({ target }: Race) => holdKey(target.id),
      call: ({ keys }: Clients, { target }: Race) =>
        keys.updateKey({ key: { id: target.id, scopes: ["*"] }, updateMask: { paths: ["scopes"] } }),
    },
  } as const;
  const cases = Object.entries(calls);

  async function race(
    method: (typeof calls)[keyof typeof calls],
    how: { readonly server: number; readonly takeAway: (race: Race) => Promise<unknown> },
  ): Promise<Refusal | "done"> {
    const prepared = await prepare();
    try {
      return await callAcross({
        lock: await method.hold(prepared),
        call: () => method.call(as(prepared.caller.secret, how.server), prepared),
        takeAway: () => how.takeAway(prepared),
      });
    } finally {
      await admin.keys.revokeKeys({ owner: OWNER });
    }
  }
  const revoke = ({ caller }: Race) => admin.keys.revokeKey({ keyId: caller.id });
  const takeScope = ({ caller }: Race) =>
    admin.keys.updateKey({ key: { id: caller.id, scopes: ["a:b"] }, updateMask: { paths: ["scopes"] } });

  it.each(cases)("is refused in a %s that had passed the gate when it was revoked", async (_name, method) => {
    expect(await race(method, { server: 0, takeAway: revoke })).toMatchObject({
      code: "Unauthenticated",
      reason: "CREDENTIAL_INVALID",
      metadata: { verdict: "REVOKED" },
    });
  });

  it.each(cases)("is refused in a %s that had passed the gate when its scope was taken away", async (_name, method) => {
    expect(await race(method, { server: 0, takeAway: takeScope })).toMatchObject({
      code: "PermissionDenied",
      reason: "PERMISSION_DENIED",
    });
  });

  it.each(cases)("control: believing the gate, %s goes through though the key was revoked", async (_name, method) => {
    expect(await race(method, { server: 2, takeAway: revoke })).toBe("done");
  });

  it("control: believing the gate, CreateKey goes through though the scope was taken away", async () => {
    expect(await race(calls.CreateKey, { server: 2, takeAway: takeScope })).toBe("done");
  });

  /** The call has been judged and waits with its key held; the revocation comes then. */
  async function revokeAfterJudgement(server: number) {
    const { caller } = await prepare();
    // A row that CreateKey writes after it has judged its caller.
    const lock = await holdLock(
      database.url,
      (sql) => sql`insert into done_request (caller, method, request_id, payload, key_id, version, expire_time)
        values (${`service:${caller.id}`}, 'CreateKey', ${REQUEST_ID}, '', '', 1, now() + interval '1 hour')`,
    );
    try {
      const { keys } = as(caller.secret, server);
      const creation = keys.createKey({ owner: OWNER, displayName: "minted", requestId: REQUEST_ID });
      await lock.waiters(1);
      const revocation = admin.keys.revokeKey({ keyId: caller.id });
      const first = await Promise.race([
        lock.waiters(2).then(() => "it waits" as const),
        revocation.then(() => "it is done" as const),
      ]);
      await lock.release();
      const [minted, revoked] = await Promise.all([creation, revocation]);
      return { first, minted: minted.key, revoked: revoked.key };
    } finally {
      await lock.release();
      await admin.keys.revokeKeys({ owner: OWNER });
    }
  }

  it("holds its revocation up until what it was judged good for is committed", async () => {
    const { first, minted, revoked } = await revokeAfterJudgement(0);
    expect(first).toBe("it waits");
    expect(revoked?.state).toBe(KeyState.REVOKED);
    expect(timeOf(minted?.createTime)).toBeLessThanOrEqual(timeOf(revoked?.revokeTime));
  });

  it("control: without the lock on its key, it mints after RevokeKey has returned", async () => {
    const { first, minted } = await revokeAfterJudgement(3);
    expect(first).toBe("it is done");
    expect(minted?.state).toBe(KeyState.ACTIVE);
  });
});

async function allKeys({ keys }: Clients): Promise<Key[]> {
  const all: Key[] = [];
  for (let pageToken = ""; ; ) {
    const page = await keys.listKeys({ pageSize: 1000, pageToken });
    all.push(...page.keys);
    pageToken = page.nextPageToken;
    if (pageToken === "") return all;
  }
}

function timeOf(time: Parameters<typeof timestampMs>[0] | undefined): number {
  if (time === undefined) throw new Error("there is no time");
  return timestampMs(time);
}
