import { Histogram, type Registry } from "prom-client";

const NAME = "claviger_call_duration_seconds";
const HELP = "Duration of calls by method and gRPC status code. Streams count when they end.";
/** Upper bounds of the buckets, in seconds: from an answer out of memory to the default deadline. */
const BUCKETS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15];

type Label = "method" | "code" | "le";

interface Durations {
  readonly method: string;
  readonly code: string;
  /** Calls by bucket; the last place is for longer ones. */
  readonly calls: number[];
  sumMs: number;
}

/**
 * Counts calls and their durations by method and gRPC status code. `Histogram.observe` validates and hashes the labels of
 * each observation, which is too slow for every verification: this class does that when the metric is collected.
 */
export class CallDurations extends Histogram<Label> {
  /** The upper bounds of the buckets, in seconds. */
  readonly upperBounds: number[] = BUCKETS;
  readonly #byMethod = new Map<string, Map<string, Durations>>();

  constructor(registry: Registry) {
    super({
      name: NAME,
      help: HELP,
      labelNames: ["method", "code"],
      buckets: BUCKETS,
      registers: [registry],
    });
  }

  /** Counts a call. `method` must be one of few, since each has series of its own. */
  count(method: string, code: string, durationMs: number): void {
    const durations = this.#byMethod.get(method)?.get(code) ?? this.#begin(method, code);
    const seconds = durationMs / 1000;
    let bucket = 0;
    while (bucket < BUCKETS.length && seconds > (BUCKETS[bucket] ?? 0)) bucket += 1;
    durations.calls[bucket] = (durations.calls[bucket] ?? 0) + 1;
    durations.sumMs += durationMs;
  }

  /** The source of `get` and of the text format in prom-client (15), though its types lack it. */
  async getForPromString() {
    const all = [...this.#byMethod.values()].flatMap((byCode) => [...byCode.values()]);
    return { name: NAME, help: HELP, type: "histogram", aggregator: "sum", values: all.flatMap(valuesOf) };
  }

  #begin(method: string, code: string): Durations {
    const byCode = this.#byMethod.get(method) ?? new Map<string, Durations>();
    this.#byMethod.set(method, byCode);
    const durations = { method, code, calls: new Array<number>(BUCKETS.length + 1).fill(0), sumMs: 0 };
    byCode.set(code, durations);
    return durations;
  }
}

function valuesOf({ method, code, calls, sumMs }: Durations) {
  const sharedLabels = { method, code };
  let count = 0;
  const buckets = calls.map((own, index) => {
    count += own;
    return { metricName: `${NAME}_bucket`, labels: { le: BUCKETS[index] ?? "+Inf" }, sharedLabels, value: count };
  });
  return [
    ...buckets,
    { metricName: `${NAME}_sum`, labels: {}, sharedLabels, value: sumMs / 1000 },
    { metricName: `${NAME}_count`, labels: {}, sharedLabels, value: count },
  ];
}
