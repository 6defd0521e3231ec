import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { LeaseState } from "../revocation/lease-keeper.ts";

/** What metrics are read from, at the moment that somebody asks. */
export interface MetricSources {
  readonly cache: {
    readonly counters: { readonly hits: number; readonly misses: number; readonly discardedFills: number };
    readonly size: number;
  };
  readonly lease: { readonly state: LeaseState; readonly registrations: number };
  readonly feed: { readonly appliedRevision: number; readonly newestRevision: number };
  /** Undefined in a process that does not run one. */
  readonly canary:
    | (() => { readonly rounds: number; readonly undecided: number; readonly revokedButAccepted: number })
    | undefined;
}

export interface Metrics {
  readonly contentType: string;
  /** Everything, in the Prometheus text format. No label holds an id. */
  text(): Promise<string>;
  /** A revocation has waited at the barrier. */
  barrier(outcome: "acknowledged" | "waited" | "failed", seconds: number): void;
}

const LEASE_STATES: readonly LeaseState[] = ["registering", "leased", "lapsed", "collected", "closing"];

/** From a round trip to the longest lease, in seconds. */
const BARRIER_BUCKETS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60];

export function createMetrics({ cache, lease, feed, canary }: MetricSources): Metrics {
  const registers = [new Registry()];
  const [registry] = registers;
  if (registry === undefined) throw new Error("there is no registry");
  const counter = (name: string, help: string, read: () => number) =>
    new Counter({
      ...{ name, help, registers },
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      ...{ name, help, registers },
      collect() {
        this.set(read());
      },
    });
  counter("claviger_cache_hits_total", "Verifications answered from memory.", () => cache.counters.hits);
  counter("claviger_cache_misses_total", "Verifications that memory could not answer.", () => cache.counters.misses);
  counter(
    "claviger_fills_discarded_total",
    "Reads that were not kept, since their key may have changed meanwhile.",
    () => cache.counters.discardedFills,
  );
  gauge("claviger_cache_entries", "Secrets kept in memory.", () => cache.size);
  counter("claviger_registrations_total", "Times that this process registered for a lease.", () => lease.registrations);
  gauge("claviger_feed_applied_revision", "Every change up to here is obeyed.", () => feed.appliedRevision);
  gauge(
    "claviger_feed_lag_revisions",
    "Revisions heard of and not applied in order yet.",
    () => feed.newestRevision - feed.appliedRevision,
  );
  if (canary !== undefined) {
    counter("claviger_canary_rounds_total", "Rounds of the canary in this process.", () => canary().rounds);
    counter("claviger_canary_undecided_total", "Rounds that could not be decided.", () => canary().undecided);
    counter(
      "claviger_canary_revoked_but_accepted_total",
      "Revoked keys of the canary that a node still accepted. Anything but 0 breaks the promise.",
      () => canary().revokedButAccepted,
    );
  }
  new Gauge({
    name: "claviger_lease_state",
    help: "1 for the state in which the lease of this process is.",
    labelNames: ["state"],
    registers,
    collect() {
      for (const state of LEASE_STATES) this.set({ state }, state === lease.state ? 1 : 0);
    },
  });
  const barrier = new Histogram({
    name: "claviger_barrier_duration_seconds",
    help: "How long revocations waited until every verifier obeyed, by how the wait ended.",
    labelNames: ["outcome"],
    buckets: BARRIER_BUCKETS,
    registers,
  });
  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    barrier: (outcome, seconds) => barrier.observe({ outcome }, seconds),
  };
}
