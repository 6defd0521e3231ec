import type { MetricsSnapshot } from "../observe/metrics.ts";

/** What a worker says to the process that keeps it. */
export type FromWorker =
  /** It serves; what its start shows. */
  | { readonly kind: "ready"; readonly lines: readonly string[] }
  /** Somebody asked it for the metrics of all. */
  | { readonly kind: "metrics wanted"; readonly id: number }
  | { readonly kind: "own metrics"; readonly id: number; readonly metrics: MetricsSnapshot };

/** What it is told. */
export type ToWorker =
  | { readonly kind: "stop" }
  | { readonly kind: "own metrics wanted"; readonly id: number }
  /** Undefined: some worker did not answer. */
  | { readonly kind: "metrics"; readonly id: number; readonly text: string | undefined };
