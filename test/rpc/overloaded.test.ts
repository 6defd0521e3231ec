import { expect, it, onTestFinished } from "vitest";
import { Freshness, Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { DEFAULT_POLICY } from "../../src/server/config/policy.ts";
import { startClaviger } from "../../testkit/claviger.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { holdLock } from "../cluster/held-lock.ts";
import { type MadeKey, makeKey } from "./make-key.ts";

/** A few calls through the router take longer than a turn may bring them; past it there is all the time. */
const HASTY = { maxTurnMs: 1_000_000_000, maxRoutedTurnMs: 1, burstCalls: 1 };
const AT_ONCE = 100;

async function start(burstApartMs: number) {
  const policy = JSON.stringify({ overload: { ...HASTY, burstApartMs } });
  const claviger = await startClaviger("embedded", { CLAVIGER_POLICY: policy });
  onTestFinished(() => claviger.close());
  const { verifier } = claviger.admin;
  const secret = claviger.adminToken;
  await verifier.verify({ secret });
  const atOnce = <T>(ask: () => Promise<T>) => Array.from({ length: AT_ONCE }, ask);
  return {
    ask: () => atOnce(() => verifier.verify({ secret })),
    askThroughRouter: () => atOnce(() => verifier.batchVerify({ requests: [{ secret }] })),
  };
}

describeWithPostgres("as many secrets as calls fit on a connection", () => {
  /** While none of the reads ends. */
  const readAtOnce = async (verify: Readonly<Record<string, number>>) => {
    const claviger = await startClaviger("postgres", { CLAVIGER_POLICY: JSON.stringify({ verify }) });
    onTestFinished(() => claviger.close());
    const { admin, adminToken, databaseUrl = "" } = claviger;
    const owners = Array.from({ length: DEFAULT_POLICY.port.maxConcurrentStreams - 1 }, (_, at) => `owner-${at}`);
    const keys: MadeKey[] = [];
    for (const owner of owners) keys.push(await makeKey(admin, { owner }));
    await admin.verifier.verify({ secret: adminToken });
    const lock = await holdLock(databaseUrl, (sql) => sql`lock table secret_version in access exclusive mode`);
    const answers = Promise.allSettled(keys.map(({ secret }) => admin.verifier.verify({ secret })));
    // From memory: what was asked before it on the connection has come.
    await admin.verifier.verify({ secret: adminToken });
    await lock.release();
    return answers;
  };

  it("are read at once", async () => {
    for (const answer of await readAtOnce({})) {
      expect(answer).toMatchObject({ status: "fulfilled", value: { freshness: Freshness.AUTHORITATIVE } });
    }
  });

  it("control: are not where fewer may be", async () => {
    const refused = (await readAtOnce({ maxReads: 100 })).filter(({ status }) => status === "rejected");
    expect(refused).toHaveLength(DEFAULT_POLICY.port.maxConcurrentStreams - 1 - 100);
  });
});

it("calls through the router that come late are refused with when to retry, and those past it are measured apart", async () => {
  const { ask, askThroughRouter } = await start(1_000_000_000);
  for (const { verdict } of await Promise.all(ask())) expect(verdict).toBe(Verdict.VALID);
  const refused = (await Promise.allSettled(askThroughRouter())).filter(({ status }) => status === "rejected");
  expect(refused).not.toEqual([]);
  for (const { reason } of refused as PromiseRejectedResult[]) {
    const refusal = { code: "Unavailable", reason: "OVERLOADED", hasRetryInfo: true };
    expect(await refusalOf(Promise.reject(reason))).toMatchObject(refusal);
  }
});

it("calls that come late on the only connection with calls are answered", async () => {
  const { askThroughRouter } = await start(1);
  for (const { responses } of await Promise.all(askThroughRouter())) {
    expect(responses).toMatchObject([{ verdict: Verdict.VALID }]);
  }
});
