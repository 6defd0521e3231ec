import { expect, it } from "vitest";
import type { StorageMeter } from "../../postgres/storage.ts";
import { createMetrics, type MetricSources, type Metrics } from "./metrics.ts";

let meter: StorageMeter | undefined;
const counters = { hits: 3, misses: 2, discardedFills: 1 };
const sources = {
  endingKeys: { soonestEndSeconds: () => 1_800_000_000 },
  sealing: { seconds: 1.5 },
  storages: {
    main: {
      measure: (given: StorageMeter) => {
        meter = given;
      },
      load: () => ({ busy: 3, idle: 1, waiting: 2 }),
    },
  },
  cache: { counters, size: 5 },
  lease: { state: "leased" as const, registrations: 2, lostRevisions: 5 },
  redis: { up: new Map([["bus", true] as const, ["limiter", false] as const]) },
  certificate: undefined,
  feed: { appliedRevision: 7, newestRevision: 9, children: { size: 3, waitedOut: 0 } },
  usage: {
    verifier: {
      counters: {
        verdicts: {
          router: new Map([["valid", 4] as const]),
          fast: new Map([["unknown", 7] as const]),
          sync: new Map(),
        },
        allowedUncharged: 6,
      },
    },
    recorder: { size: 1, counters: { methodsDropped: 2, countsDropped: 0 } },
    flusher: { lagMs: 500, counters: { batches: 3, rows: 8 } },
    folded: { batches: 2, rejected: 0 },
    reports: { counters: { rowsRefused: 4, reportsPutOff: 1 } },
  },
};

function metricsOf(given: MetricSources): Metrics {
  const metrics = createMetrics("1.2.3");
  metrics.observe(given);
  return metrics;
}

it("what is counted elsewhere is told as it is at that moment, however often it is asked for", async () => {
  const metrics = metricsOf({ ...sources, canary: undefined });
  for (let i = 0; i < 2; i++) expect(await metrics.text()).toMatch(/^claviger_cache_hits_total 3$/m);
  counters.hits = 4;
  const text = await metrics.text();
  for (const line of [
    "claviger_cache_hits_total 4",
    "claviger_fills_discarded_total 1",
    "claviger_cache_entries 5",
    "claviger_lost_revisions_total 5",
    "claviger_feed_lag_revisions 2",
    "claviger_attached_verifiers 3",
    'claviger_lease_state{state="leased"} 1',
    'claviger_lease_state{state="lapsed"} 0',
    'claviger_redis_up{purpose="bus"} 1',
    'claviger_redis_up{purpose="limiter"} 0',
    'claviger_verifications_total{verdict="valid",lane="router"} 4',
    'claviger_verifications_total{verdict="unknown",lane="fast"} 7',
    // Series exist from the start, so that their first increase is seen.
    'claviger_verifications_total{verdict="revoked",lane="sync"} 0',
    "claviger_calling_key_soonest_end_timestamp_seconds 1800000000",
    "claviger_audit_lag_seconds 1.5",
    "claviger_uncharged_total 6",
    "claviger_usage_lag_seconds 0.5",
    "claviger_usage_rows_total 8",
    "claviger_usage_methods_dropped_total 2",
    "claviger_usage_counts_dropped_total 0",
    "claviger_usage_reported_rows_refused_total 4",
    "claviger_usage_reports_put_off_total 1",
  ]) {
    expect(text.split("\n")).toContain(line);
  }
  expect(text).not.toContain("canary");
});

it("work on storage is told by pool and outcome, with the pool's load", async () => {
  const metrics = metricsOf({ ...sources, canary: undefined });
  meter?.onDone("answered", 3);
  meter?.onDone("away", 3000);
  const text = await metrics.text();
  for (const line of [
    'claviger_storage_duration_seconds_bucket{le="0.005",pool="main",outcome="answered"} 1',
    'claviger_storage_duration_seconds_count{pool="main",outcome="away"} 1',
    'claviger_storage_duration_seconds_count{pool="main",outcome="refused"} 0',
    'claviger_storage_connections{pool="main",state="busy"} 3',
    'claviger_storage_connections{pool="main",state="waiting"} 2',
  ]) {
    expect(text.split("\n")).toContain(line);
  }
});

it("waits at the barrier are told by how they ended", async () => {
  const canary = () => ({ rounds: 1, undecided: 0, revokedButAccepted: 0 });
  const metrics = metricsOf({ ...sources, canary });
  metrics.barrier("waited", 3.1);
  const text = await metrics.text();
  expect(text).toMatch(/^claviger_barrier_duration_seconds_count\{outcome="waited"\} 1$/m);
  expect(text).toMatch(/^claviger_canary_revoked_but_accepted_total 0$/m);
});

it("two sets of metrics know nothing of each other", async () => {
  const [one, two] = [metricsOf({ ...sources, canary: undefined }), metricsOf({ ...sources, canary: undefined })];
  one.barrier("acknowledged", 0.001);
  expect(await two.text()).not.toContain('outcome="acknowledged"');
});
