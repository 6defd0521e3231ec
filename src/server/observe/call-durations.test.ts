import fc from "fast-check";
import { Histogram, Registry } from "prom-client";
import { expect, it } from "vitest";
import { CallDurations } from "./call-durations.ts";
import { mergeMetrics } from "./metrics.ts";

it("says what a histogram of the library says of the same calls", async () => {
  const calls = fc.array(
    fc.record({
      method: fc.constantFrom("a/B", "a/C"),
      code: fc.constantFrom("OK", "NOT_FOUND"),
      // Whole microseconds, so that sums are exact in either order.
      micros: fc.oneof(fc.integer({ min: 0, max: 20_000_000 }), fc.constantFrom(100, 250, 1000, 15_000_000)),
    }),
    { maxLength: 50 },
  );
  await fc.assert(
    fc.asyncProperty(calls, async (all) => {
      const [ours, theirs] = [new Registry(), new Registry()];
      const durations = new CallDurations(ours);
      const [{ values }] = [await durations.get()];
      expect(values).toEqual([]);
      const histogram = new Histogram({
        name: "claviger_call_duration_seconds",
        help: "h",
        labelNames: ["method", "code"],
        buckets: durations.upperBounds,
        registers: [theirs],
      });
      for (const { method, code, micros } of all) {
        durations.count(method, code, micros / 1000);
        histogram.observe({ method, code }, micros / 1_000_000);
      }
      const [own, other] = await Promise.all([ours.metrics(), theirs.metrics()]);
      expect(seriesOf(own)).toEqual(seriesOf(other));
    }),
    { numRuns: 50 },
  );
});

it("counts of several processes are added up", async () => {
  const snapshots = await Promise.all(
    [1, 2].map(async () => {
      const registry = new Registry();
      new CallDurations(registry).count("a/B", "OK", 2);
      return registry.getMetricsAsJSON();
    }),
  );
  const text = await mergeMetrics(snapshots);
  expect(text).toContain('claviger_call_duration_seconds_count{method="a/B",code="OK"} 2');
});

/** Series by name and labels, in any order of labels; sums rounded to nanoseconds. */
function seriesOf(text: string): Record<string, number> {
  const lines = text.split("\n").filter((line) => line.startsWith("claviger_"));
  return Object.fromEntries(
    lines.map((line) => {
      const [, name, labels = "", value] = /^(\w+)\{(.*)\} (.*)$/.exec(line) ?? [];
      return [`${name} ${labels.split(",").sort().join(",")}`, Number(Number(value).toFixed(9))];
    }),
  );
}
