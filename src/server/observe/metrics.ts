import {
  type Aggregator,
  AggregatorRegistry,
  Counter,
  collectDefaultMetrics,
  Gauge,
  Histogram,
  Registry,
} from "prom-client";
import { messageOf } from "../../keys/errors.ts";
import { VERDICTS, type Verdict } from "../../keys/lifecycle.ts";
import type { Storage, StorageOutcome } from "../../postgres/storage.ts";
import type { LeaseState } from "../../revocation/lease-keeper.ts";
import { monotonicMs } from "../../system/node.ts";
import { createPort } from "../../transport/port/port.ts";
import { createMetricsHandler, type MetricsText } from "../../transport/services/metrics-handler.ts";
import type { Lane } from "../../usage/metered-verifier.ts";
import { DEFAULT_POLICY } from "../config/policy.ts";
import { portLimits } from "../config/port-limits.ts";
import { StartupError } from "../startup-error.ts";
import { CallDurations } from "./call-durations.ts";

/** The sources of metrics, read at each scrape. */
export interface MetricSources {
  readonly endingKeys: { soonestEndSeconds(): number };
  readonly sealing: { readonly seconds: number };
  /** By the name of the pool. Storages that are one and the same have one name. */
  readonly storages: Readonly<Record<string, Pick<Storage, "measure" | "load">>>;
  readonly cache: {
    readonly counters: { readonly hits: number; readonly misses: number; readonly discardedFills: number };
    readonly size: number;
  };
  readonly lease: { readonly state: LeaseState; readonly registrations: number; readonly lostRevisions: number };
  readonly feed: {
    readonly appliedRevision: number;
    readonly newestRevision: number;
    readonly children: { readonly size: number; readonly waitedOut: number };
  };
  readonly usage: {
    readonly verifier: {
      readonly counters: {
        readonly verdicts: Readonly<Record<Lane, ReadonlyMap<Verdict, number>>>;
        readonly allowedUncharged: number;
      };
    };
    readonly recorder: {
      readonly size: number;
      readonly counters: { readonly methodsDropped: number; readonly countsDropped: number };
    };
    readonly flusher: {
      readonly lagMs: number;
      readonly counters: { readonly batches: number; readonly rows: number };
    };
    readonly folded: { readonly batches: number; readonly rejected: number };
    readonly reports: { readonly counters: { readonly rowsRefused: number; readonly reportsPutOff: number } };
  };
  /** Whether Redis can be used, by purpose; empty without Redis. */
  readonly redis: { readonly up: ReadonlyMap<string, boolean> };
  /** Undefined where the port is in clear. */
  readonly certificate: { readonly failures: number; readonly expirySeconds: number } | undefined;
  /** Undefined in a process that does not run one. */
  readonly canary: (() => CanaryCounts) | undefined;
}

export interface CanaryCounts {
  readonly rounds: number;
  readonly undecided: number;
  readonly revokedButAccepted: number;
}

/** The metrics of one process at one moment, for `mergeMetrics`. */
export type MetricsSnapshot = Awaited<ReturnType<Registry["getMetricsAsJSON"]>>;

/** Everything, in the Prometheus text format. No label holds an id. */
export interface Metrics extends MetricsText {
  snapshot(): Promise<MetricsSnapshot>;
  /** Adds the metrics that are read from these sources; called once. */
  observe(sources: MetricSources): void;
  /** A call has ended, after so many milliseconds. `method` is one of few. */
  call(method: string, code: string, durationMs: number): void;
  /** A revocation has waited at the barrier. */
  barrier(outcome: "acknowledged" | "waited" | "failed", seconds: number): void;
}

const LEASE_STATES: readonly LeaseState[] = ["registering", "leased", "lapsed", "collected", "closing"];

const STORAGE_OUTCOMES: readonly StorageOutcome[] = ["answered", "refused", "away"];

const LANES: readonly Lane[] = ["router", "fast", "sync"];

/** From a round trip to the longest lease, in seconds. */
const BARRIER_BUCKETS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60];

/** The metrics of this process; `version` is that of the program. */
export function createMetrics(version: string): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  new Gauge({
    name: "claviger_build_info",
    help: "Always 1; the labels are the versions of Claviger and of Node.",
    labelNames: ["version", "node"],
    ...{ registers, aggregator: "first" },
  }).set({ version, node: process.version }, 1);
  const calls = new CallDurations(registry);
  const barrier = new Histogram({
    name: "claviger_barrier_duration_seconds",
    help: "Time that revocations waited until every verifier obeyed, by how the wait ended.",
    labelNames: ["outcome"],
    buckets: BARRIER_BUCKETS,
    registers,
  });
  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    snapshot: () => registry.getMetricsAsJSON(),
    observe: (sources) => addSources(registry, sources),
    call: (method, code, durationMs) => calls.count(method, code, durationMs),
    barrier: (outcome, seconds) => barrier.observe({ outcome }, seconds),
  };
}

function addSources(registry: Registry, sources: MetricSources): void {
  const { cache, lease, feed, usage, redis, canary, certificate } = sources;
  const registers = [registry];
  const counter = counterIn(registry);
  /** The value for several processes together is the sum, unless another aggregator is given. */
  const gauge = (name: string, help: string, read: () => number, aggregator: Aggregator = "sum") =>
    new Gauge({
      ...{ name, help, registers, aggregator },
      collect() {
        this.set(read());
      },
    });
  gauge(
    "claviger_calling_key_soonest_end_timestamp_seconds",
    "Unix time at which the next secret of a calling key in use ends, if within 14 days; else 9999999999. The log names the key.",
    () => sources.endingKeys.soonestEndSeconds(),
    "min",
  );
  gauge(
    "claviger_audit_lag_seconds",
    "Seconds since every audit event was in the signed chain.",
    () => sources.sealing.seconds,
    "max",
  );
  counter("claviger_cache_hits_total", "Verifications answered from memory.", () => cache.counters.hits);
  counter("claviger_cache_misses_total", "Verifications that read storage.", () => cache.counters.misses);
  counter(
    "claviger_fills_discarded_total",
    "Reads that were not cached, because their key may have changed during the read.",
    () => cache.counters.discardedFills,
  );
  gauge("claviger_cache_entries", "Secrets in memory.", () => cache.size);
  counter("claviger_registrations_total", "Registrations of this process for a lease.", () => lease.registrations);
  counter(
    "claviger_lost_revisions_total",
    "Changes that this process had applied and that a database failover lost. Every value above 0 is a loss.",
    () => lease.lostRevisions,
  );
  gauge(
    "claviger_feed_applied_revision",
    "Revision up to which this process obeys every change.",
    () => feed.appliedRevision,
    "min",
  );
  gauge(
    "claviger_feed_lag_revisions",
    "Revisions that this process has received and not applied yet.",
    () => feed.newestRevision - feed.appliedRevision,
    "max",
  );
  gauge(
    "claviger_attached_verifiers",
    "Verifiers in agents that hold a lease from this process, or may still hold one.",
    () => feed.children.size,
  );
  counter(
    "claviger_agents_waited_out_total",
    "Leases of agents that a change waited out because the agent did not acknowledge it. The log names the agent.",
    () => feed.children.waitedOut,
  );
  if (certificate !== undefined) {
    gauge(
      "claviger_tls_certificate_expiry_timestamp_seconds",
      "Unix time at which the certificate of the port ends.",
      () => certificate.expirySeconds,
      "min",
    );
    counter(
      "claviger_tls_reload_failures_total",
      "Reads of the certificate's files that found no pair to use. The log says why.",
      () => certificate.failures,
    );
  }
  addUsage(registry, usage);
  gauge(
    "claviger_usage_lag_seconds",
    "Seconds since every count was in the ledger.",
    () => usage.flusher.lagMs / 1000,
    "max",
  );
  gauge("claviger_usage_unsent_rows", "Rows of counts that the ledger does not have yet.", () => usage.recorder.size);
  if (canary !== undefined) addCanary(registry, canary);
  new Gauge({
    name: "claviger_lease_state",
    help: "Number of local processes whose lease is in this state.",
    labelNames: ["state"],
    registers,
    collect() {
      for (const state of LEASE_STATES) this.set({ state }, state === lease.state ? 1 : 0);
    },
  });
  if (redis.up.size > 0) {
    new Gauge({
      name: "claviger_redis_up",
      help: "1 while every local process can use Redis for this purpose, else 0. The log says why.",
      labelNames: ["purpose"],
      registers,
      aggregator: "min",
      collect() {
        for (const [purpose, isUp] of redis.up) this.set({ purpose }, isUp ? 1 : 0);
      },
    });
  }
  addStorages(registry, sources.storages);
}

/** Merges the counts of several processes: sums, and the least or the most where a sum has no meaning. */
export function mergeMetrics(snapshots: readonly MetricsSnapshot[]): Promise<string> {
  return AggregatorRegistry.aggregate([...snapshots]).metrics();
}

/** Serves the canary's metrics alone, for a process without a server. StartupError says why it cannot listen. */
export async function serveCanaryMetrics(
  listen: { readonly host: string; readonly port: number },
  canary: () => CanaryCounts,
): Promise<{ readonly url: string; close(): Promise<void> }> {
  const registry = new Registry();
  addCanary(registry, canary);
  const metrics: MetricsText = { contentType: registry.contentType, text: () => registry.metrics() };
  const handler = createMetricsHandler(metrics, (exchange) => exchange.respond(404, [], true));
  // Nothing that is under way here is worth waiting for.
  const limits = { ...portLimits(DEFAULT_POLICY.port), drainMs: 0 };
  const port = createPort({ ...listen, handler, limits });
  const { url } = await port.listen().catch((error: unknown) => {
    throw new StartupError(messageOf(error), { cause: error });
  });
  return { url: `${url}/metrics`, close: () => port.drain() };
}

function addCanary(registry: Registry, canary: () => CanaryCounts): void {
  const counter = counterIn(registry);
  counter("claviger_canary_rounds_total", "Rounds of the canary in this process.", () => canary().rounds);
  counter(
    "claviger_canary_undecided_total",
    "Rounds of the canary that could not be decided.",
    () => canary().undecided,
  );
  counter(
    "claviger_canary_revoked_but_accepted_total",
    "Revoked keys of the canary that a node still accepted. Every value above 0 is a broken promise.",
    () => canary().revokedButAccepted,
  );
}

/** From a round trip on one machine to the longest wait, in seconds. */
const STORAGE_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 12];

function addStorages(registry: Registry, storages: MetricSources["storages"]): void {
  const registers = [registry];
  const durations = new Histogram({
    name: "claviger_storage_duration_seconds",
    help: "Time of work on the database with its wait for a connection, by pool and outcome. With outcome away, the database did not answer.",
    labelNames: ["pool", "outcome"],
    buckets: STORAGE_BUCKETS,
    registers,
  });
  for (const [pool, storage] of Object.entries(storages)) {
    for (const outcome of STORAGE_OUTCOMES) durations.zero({ pool, outcome });
    storage.measure({
      monotonicMs,
      onDone: (outcome, durationMs) => durations.observe({ pool, outcome }, durationMs / 1000),
    });
  }
  new Gauge({
    name: "claviger_storage_connections",
    help: "Busy and idle connections of a pool, and work that waits for a connection.",
    labelNames: ["pool", "state"],
    registers,
    collect() {
      for (const [pool, storage] of Object.entries(storages)) {
        for (const [state, count] of Object.entries(storage.load() ?? {})) this.set({ pool, state }, count);
      }
    },
  });
}

function addUsage(registry: Registry, { verifier, recorder, flusher, folded, reports }: MetricSources["usage"]): void {
  const counter = counterIn(registry);
  new Counter({
    name: "claviger_verifications_total",
    help: "Decided verifications by verdict and by the path of the call.",
    labelNames: ["verdict", "lane"],
    registers: [registry],
    collect() {
      this.reset();
      for (const lane of LANES) {
        const counted = verifier.counters.verdicts[lane];
        for (const verdict of VERDICTS) this.inc({ verdict, lane }, counted.get(verdict) ?? 0);
      }
    },
  });
  counter(
    "claviger_uncharged_total",
    "Requests of keys with limits that were allowed without a charge, because the live counters did not answer.",
    () => verifier.counters.allowedUncharged,
  );
  counter(
    "claviger_usage_batches_total",
    "Batches of counts that this process wrote to the ledger.",
    () => flusher.counters.batches,
  );
  counter(
    "claviger_usage_rows_total",
    "Rows of counts that this process wrote to the ledger.",
    () => flusher.counters.rows,
  );
  counter(
    "claviger_usage_folded_total",
    "Batches of counts that this process folded into minutes and hours.",
    () => folded.batches,
  );
  counter(
    "claviger_usage_rejected_total",
    "Rows of counts that could not be folded. The table usage_rejected has them.",
    () => folded.rejected,
  );
  counter(
    "claviger_usage_reported_rows_refused_total",
    "Rows in reports of agents that the server refused, such as rows without a valid usage proof.",
    () => reports.counters.rowsRefused,
  );
  counter(
    "claviger_usage_reports_put_off_total",
    "Reports that agents must send again, because their calling key began too many epochs or too many reports wait.",
    () => reports.counters.reportsPutOff,
  );
  counter(
    "claviger_usage_methods_dropped_total",
    "Verifications counted without their method, because the memory for counts was full.",
    () => recorder.counters.methodsDropped,
  );
  counter(
    "claviger_usage_counts_dropped_total",
    "Verifications that were not counted, because the memory for counts was full. Every value above 0 is a loss.",
    () => recorder.counters.countsDropped,
  );
}

/** Makes counters of values that are counted elsewhere, read at each scrape. */
function counterIn(registry: Registry) {
  return (name: string, help: string, read: () => number) =>
    new Counter({
      ...{ name, help, registers: [registry] },
      collect() {
        this.reset();
        this.inc(read());
      },
    });
}
