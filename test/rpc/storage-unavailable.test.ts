import postgresClient from "postgres";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Clients, startClaviger, type TestClaviger } from "../../testkit/claviger.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { type PostgresServer, startPostgresServer } from "../../testkit/postgres-server.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { forge, mistype } from "./forge.ts";
import { makeKey } from "./make-key.ts";
import { verdictOf } from "./verdict-of.ts";

const unavailable = {
  code: "Unavailable",
  reason: "STORAGE_UNAVAILABLE",
  domain: "claviger",
  hasRetryInfo: true,
};

/** The status of `/readyz` and of each cause. */
async function readiness(url: string): Promise<[number, Record<string, unknown>]> {
  const answer = await fetch(`${url}/readyz`);
  const { causes } = (await answer.json()) as {
    readonly causes: Readonly<Record<string, { readonly status: string }>>;
  };
  return [answer.status, Object.fromEntries(Object.entries(causes).map(([name, { status }]) => [name, status]))];
}

describeWithPostgres("Without its database", () => {
  let postgres: PostgresServer | undefined;
  let claviger: TestClaviger | undefined;

  beforeAll(async () => {
    postgres = await startPostgresServer();
    claviger = await startClaviger("postgres", { DATABASE_URL: postgres.url, CLAVIGER_VERIFY_ACCESS: "open" });
  });
  afterAll(async () => {
    await claviger?.close();
    await postgres?.stop();
  });

  function running() {
    if (postgres === undefined || claviger === undefined) throw new Error("not started");
    return { postgres, claviger, anybody: claviger.as(undefined) };
  }

  it("no call gets a verdict or an answer but UNAVAILABLE, until the database is back", async () => {
    const { postgres, claviger, anybody } = running();
    const { id, secret } = await makeKey(claviger.admin, { owner: "away" });
    postgres.kill("SIGKILL");
    // A backend that is idle notices the death of its parent a moment later.
    await eventually(() => refusalOf(anybody.verifier.verify({ secret })));
    const calls: readonly ((clients: Clients) => Promise<unknown>)[] = [
      () => anybody.verifier.verify({ secret }),
      () => anybody.verifier.batchVerify({ requests: [{ secret: mistype(secret) }, { secret }] }),
      () => anybody.keys.reportLeakedSecret({ secret }),
      ({ keys }) => keys.createKey({ displayName: "k" }),
      ({ keys }) => keys.getKey({ keyId: id }),
      ({ keys }) => keys.listKeys({}),
      ({ keys }) => keys.updateKey({ key: { id, disabled: true }, updateMask: { paths: ["disabled"] } }),
      ({ keys }) => keys.rotateKey({ keyId: id }),
      ({ keys }) => keys.retireSecret({ keyId: id, version: 1 }),
      ({ keys }) => keys.revokeKey({ keyId: id }),
      ({ keys }) => keys.revokeKeys({ owner: "away" }),
    ];
    for (const call of calls) expect(await refusalOf(call(claviger.admin))).toMatchObject(unavailable);
    await eventually(async () => expect(await readiness(claviger.url)).toMatchObject([503, { storage: "failing" }]));
    expect((await fetch(`${claviger.url}/healthz`)).status).toBe(200);
    await postgres.restart();
    const well = { storage: "ok", lease: "ok", redis: "ok", draining: "ok" };
    await eventually(async () => expect(await readiness(claviger.url)).toEqual([200, well]));
    await eventually(async () => expect(await verdictOf(anybody, secret)).toBe("VALID"));
  });

  it("what needs no database is decided all the same", async () => {
    const { postgres, claviger, anybody } = running();
    // Each pool finds the database again by itself; changes have another one than verifications.
    const { secret } = await eventually(() => makeKey(claviger.admin, { owner: "away-pure" }));
    postgres.kill("SIGKILL");
    expect(await verdictOf(anybody, mistype(secret))).toBe("MALFORMED");
    expect(await verdictOf(anybody, forge(secret))).toBe("UNKNOWN");
    expect(await refusalOf(anybody.keys.listKeys({}))).toMatchObject({ reason: "CREDENTIAL_MISSING" });
    expect(await refusalOf(claviger.as(forge(secret)).keys.listKeys({}))).toMatchObject({
      reason: "CREDENTIAL_INVALID",
      metadata: { verdict: "UNKNOWN" },
    });
    await postgres.restart();
    await eventually(async () => expect(await verdictOf(anybody, secret)).toBe("VALID"));
  });

  it("what nobody expected is INTERNAL with the id of the call, and does not say what happened", async () => {
    const { postgres, claviger, anybody } = running();
    // Postgres was away before: a pool that was refused pauses for half a second at most.
    const { secret } = await eventually(() => makeKey(claviger.admin, { owner: "away-broken" }));
    const owner = postgresClient(postgres.url, { max: 1 });
    await owner`alter table api_key rename to mislaid`;
    try {
      const headers = { "x-request-id": "call-1" };
      const refusal = await refusalOf(anybody.verifier.verify({ secret }, { headers }));
      expect(refusal).toEqual({
        code: "Internal",
        reason: "INTERNAL",
        domain: "claviger",
        metadata: { request_id: "call-1" },
        message: "internal error. Report it with request id call-1",
        fields: [],
        hasQuotaFailure: false,
        hasRetryInfo: false,
      });
    } finally {
      await owner`alter table mislaid rename to api_key`;
      await owner.end();
    }
    expect(await verdictOf(anybody, secret)).toBe("VALID");
  });
});
