import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { type Clients, startClaviger, type TestClaviger } from "../../testkit/claviger.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { type PostgresServer, startPostgresServer } from "../../testkit/postgres-server.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { forge, mistype } from "./forge.ts";
import { makeKey } from "./make-key.ts";

// Nothing else may ask the database meanwhile: the periodic tasks are put off.
const NEVER = 100_000_000;
const QUIET = JSON.stringify({
  postgres: { probeEveryMs: NEVER },
  revocation: { trimEveryMs: NEVER },
  manage: { forgetEveryMs: NEVER },
  audit: { sealEveryMs: NEVER },
  usage: { flushMs: NEVER, foldMs: NEVER, renewPartitionsMs: NEVER },
});

describeWithPostgres("Verification without a credential (CLAVIGER_VERIFY_ACCESS=open)", () => {
  let postgres: PostgresServer | undefined;
  let claviger: TestClaviger | undefined;
  let anybody: Clients | undefined;

  beforeAll(async () => {
    postgres = await startPostgresServer({ settings: { log_statement: "all", log_line_prefix: "%a|" } });
    claviger = await startClaviger("postgres", {
      DATABASE_URL: postgres.url,
      CLAVIGER_VERIFY_ACCESS: "open",
      CLAVIGER_POLICY: QUIET,
      CLAVIGER_LEASE_MS: "60000",
    });
    anybody = claviger.as(undefined);
  });
  afterAll(async () => {
    await claviger?.close();
    await postgres?.stop();
  });

  function running() {
    if (postgres === undefined || claviger === undefined || anybody === undefined) throw new Error("not started");
    return { postgres, claviger, anybody };
  }

  /** The statements that Claviger sent while `work` ran. */
  async function statementsOf(work: () => Promise<unknown>): Promise<string[]> {
    const { postgres, claviger } = running();
    const before = await settledLog(claviger, postgres);
    await work();
    return (await settledLog(claviger, postgres)).slice(before.length, -1);
  }

  /** What Claviger has sent so far, up to a statement of our own that marks the end. */
  async function settledLog({ storage }: TestClaviger, { logFile }: PostgresServer): Promise<string[]> {
    const mark = `mark-${process.hrtime.bigint()}`;
    await storage.read((database) => database.execute(`select '${mark}'`));
    return eventually(() => {
      const lines = readFileSync(logFile, "utf8").split("\n");
      const own = lines.filter((line) => /^claviger\|LOG: {2}(statement|execute .*):/.test(line));
      expect(own.at(-1)).toContain(mark);
      return own;
    });
  }

  it("a forged or mistyped secret causes no query, alone or in a batch", async () => {
    const { claviger, anybody } = running();
    const { secret } = await makeKey(claviger.admin, { owner: "io" });
    const texts = ["", "x", mistype(secret), secret.slice(1), forge(secret), `secret-token:${forge(secret)}`];
    const verdicts: Verdict[] = [];
    const statements = await statementsOf(async () => {
      for (const text of texts) verdicts.push((await anybody.verifier.verify({ secret: text })).verdict);
      const requests = Array.from({ length: 100 }, (_, i) => ({ secret: texts[i % texts.length] ?? "" }));
      await anybody.verifier.batchVerify({ requests });
    });
    const { MALFORMED, UNKNOWN } = Verdict;
    expect(verdicts).toEqual([MALFORMED, MALFORMED, MALFORMED, MALFORMED, UNKNOWN, UNKNOWN]);
    expect(statements).toEqual([]);
  });

  it("a genuine secret causes one query, by its digest and nothing else of it, and then none", async () => {
    const { claviger, anybody, postgres } = running();
    const { secret } = await makeKey(claviger.admin, { owner: "io" });
    const statements = await statementsOf(async () => {
      for (let i = 0; i < 3; i++) await anybody.verifier.verify({ secret });
    });
    expect(statements).toHaveLength(1);
    expect(statements[0]).toContain('"secret_version"."digest"');
    expect(readFileSync(postgres.logFile, "utf8")).not.toContain(secret.slice(-49));
  });

  it("a hundred secrets in a batch cause one query", async () => {
    const { claviger, anybody } = running();
    const made = await Promise.all(Array.from({ length: 50 }, (_, i) => makeKey(claviger.admin, { owner: `io-${i}` })));
    const requests = [...made, ...made].map(({ secret }, i) => ({ secret: i < 90 ? secret : forge(secret) }));
    let valid = 0;
    const statements = await statementsOf(async () => {
      const { responses } = await anybody.verifier.batchVerify({ requests });
      valid = responses.filter(({ verdict }) => verdict === Verdict.VALID).length;
    });
    expect(valid).toBe(90);
    expect(statements).toHaveLength(1);
  });

  it("a credential of the caller is not looked at, and no other method is opened", async () => {
    const { claviger, anybody } = running();
    const { secret } = await makeKey(claviger.admin, { owner: "io" });
    expect((await claviger.as("garbage").verifier.verify({ secret })).verdict).toBe(Verdict.VALID);
    for (const call of [() => anybody.keys.listKeys({}), () => anybody.keys.createKey({ displayName: "k" })]) {
      expect(await refusalOf(call())).toMatchObject({ code: "Unauthenticated", reason: "CREDENTIAL_MISSING" });
    }
  });
});
