import type { Logger } from "pino";
import { UsageProofs } from "../../keys/usage-proof.ts";
import { readClusterId } from "../../postgres/revisions.ts";
import { appendUsage, dropPartitions, forgetSources, makePartitions } from "../../postgres/usage-ledger.ts";
import { readCharged } from "../../postgres/usage-query.ts";
import { DAY_MS } from "../../system/clocks.ts";
import { systemClocks as clocks, systemRandom as random, systemTimers as timers } from "../../system/node.ts";
import { AgentReports, REPORT_WAIT_MS } from "../../usage/agent-reports.ts";
import { Charges } from "../../usage/charges.ts";
import { UsageFlusher, type UsageLedger } from "../../usage/flusher.ts";
import { foldLedger } from "../../usage/fold.ts";
import { InProcessLimiter } from "../../usage/limiter.ts";
import { MeteredVerifier } from "../../usage/metered-verifier.ts";
import { UsageRecorder } from "../../usage/recorder.ts";
import type { Verifier } from "../../verify/verifier.ts";
import type { ServerConfig } from "../config/config.ts";
import { Outage } from "../observe/outage.ts";
import type { OpenStorage } from "./open-storage.ts";
import type { RedisStates } from "./redis-states.ts";

/** Rows of counts in one batch, and rows that one fold takes: far below what a statement may take. */
const BATCH_ROWS = 20_000;
const FOLD_ROWS = 20_000;
/** Keys with limits that a process remembers when it runs alone. */
const LIMITED_KEYS = 100_000;

export interface OpenUsage {
  readonly verifier: MeteredVerifier;
  readonly recorder: UsageRecorder;
  readonly flusher: UsageFlusher;
  readonly reports: AgentReports;
  readonly folded: { batches: number; rejected: number };
  /** Folds what is in the ledger. */
  fold(): Promise<void>;
  /** Makes the next partitions, drops old ones, and forgets sources that have long been silent. */
  renewPartitions(): Promise<void>;
  /** Sends what was counted, for as long as storage may take; nothing must be verified any more. */
  close(): Promise<void>;
}

/** Builds the counting and the limits; nothing runs by itself. */
export async function openUsage(parts: {
  readonly config: ServerConfig;
  readonly opened: OpenStorage;
  readonly verifier: Verifier;
  readonly log: Logger;
  readonly redis: RedisStates;
}): Promise<OpenUsage> {
  const { config, opened, log } = parts;
  const { policy } = config;
  const { storage } = opened;
  const recorder = new UsageRecorder({ clocks, budgetBytes: policy.usage.bufferBytes });
  const ledger: UsageLedger = { append: (batch) => storage.write((database) => appendUsage(database, batch)) };
  const sending = new Outage({
    ...{ log, event: "usage" },
    failing: "counts could not be sent; the server keeps them and tries again",
    well: "counts are sent again",
  });
  const flusher = new UsageFlusher({
    ...{ recorder, ledger, random, clocks, batchRows: BATCH_ROWS },
    onFailure: (error) => sending.failed(error),
    onSent: () => sending.succeeded(),
  });
  const reports = new AgentReports({
    ...{ proofs: new UsageProofs(opened.roots), ledger, clocks, timers, entryMs: policy.verify.cacheEntryMs },
    ...{ mostReports: policy.usage.maxReports, mostWaitingReports: policy.usage.maxWaitingReports },
    reportWaitMs: policy.usage.reportWaitMs,
    onRefused: ({ callerId, reason, rows }) =>
      log.warn(
        { event: "usage", callerId, reason, rows },
        "a verifier reports usage that is not counted; look at the service that calls with this key",
      ),
  });
  const limiter = await openLimiter({ ...parts, flusher });
  const { onLimiterLoss } = config;
  const charges = limiter === undefined ? undefined : new Charges(limiter);
  const verifier = new MeteredVerifier({ verifier: parts.verifier, charges, recorder, onLimiterLoss });
  const folded = { batches: 0, rejected: 0 };
  return {
    ...{ verifier, recorder, flusher, reports, folded },
    async fold() {
      folded.batches += await foldLedger({
        ...{ storage, rows: FOLD_ROWS },
        onRejected: (rejected) => {
          folded.rejected += rejected;
          log.error({ event: "usage", rows: rejected }, "rows of usage cannot be folded; see table usage_rejected");
        },
      });
    },
    async renewPartitions() {
      const kept = { minutesMs: policy.usage.minutesMs, hoursMs: policy.usage.hoursMs };
      await storage.read(makePartitions);
      await storage.read((database) => dropPartitions(database, kept));
      await storage.write((database) => forgetSources(database, policy.verify.cacheEntryMs + REPORT_WAIT_MS + DAY_MS));
    },
    async close() {
      const deadline = clocks.monotonicMs() + policy.postgres.storageTimeoutMs;
      while (!flusher.isEmpty && clocks.monotonicMs() < deadline) {
        await flusher.flush();
        if (!flusher.isEmpty) await new Promise((done) => setTimeout(done, policy.usage.flushMs / 10));
      }
      if (!flusher.isEmpty) log.error({ event: "usage", rows: recorder.size }, "counts were lost: storage is away");
      await limiter?.close();
    },
  };
}

/** Where limits hold for every process; undefined for Postgres without Redis. */
async function openLimiter(parts: {
  readonly config: ServerConfig;
  readonly opened: OpenStorage;
  readonly redis: RedisStates;
  readonly flusher: UsageFlusher;
}) {
  const { config, opened, redis, flusher } = parts;
  const { policy } = config;
  const charged = (keyId: string, day: Date) => opened.storage.read((database) => readCharged(database, keyId, day));
  if (config.redis !== undefined) {
    const { RedisLimiter } = await import("../../redis/limiter.ts");
    const clusterId = await opened.storage.read(readClusterId);
    const address = config.redis;
    return new RedisLimiter({
      address,
      clusterId,
      timers,
      timeoutMs: policy.usage.limiterTimeoutMs,
      async readCharged(keyId, day) {
        await flusher.flush();
        return await charged(keyId, day);
      },
      onConnected: () => void flusher.flush(),
      random,
      health: redis.of("limiter"),
    });
  }
  if (config.storage.kind !== "embedded") return undefined;
  const limiter = new InProcessLimiter({ clocks, readCharged: charged, capacity: LIMITED_KEYS });
  return { charge: limiter.charge.bind(limiter), close: async () => undefined };
}
