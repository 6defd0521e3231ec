import { stat } from "node:fs/promises";
import { pino } from "pino";
import { expect, it, onTestFinished } from "vitest";
import { eventually } from "../../../testkit/eventually.ts";
import { watchStorage } from "./readiness.ts";

const TIMEOUT_MS = 50;
const never = () => new Promise(() => undefined);

/** Storage that is asked by each of `probes` in turn, and then by the last; and what was said and done of it. */
function watch(...probes: readonly (() => Promise<unknown>)[]): ("ready" | "not ready" | "given up")[] {
  const told: ("ready" | "not ready" | "given up")[] = [];
  let asked = 0;
  const watching = watchStorage({
    storage: {
      probe: () => probes[Math.min(asked++, probes.length - 1)]?.() ?? never(),
      reconnect: () => void told.push("given up"),
    },
    ...{ log: pino({ level: "silent" }), service: "tested", probeEveryMs: 1, probeTimeoutMs: TIMEOUT_MS },
    onChange: (ready) => told.push(ready ? "ready" : "not ready"),
  });
  onTestFinished(() => watching.stop());
  return told;
}

it("gives up a connection that answered and then hangs, once", async () => {
  const told = watch(async () => undefined, never);
  await eventually(() => expect(told).toEqual(["ready", "given up", "not ready"]));
  await new Promise((resolve) => setTimeout(resolve, 3 * TIMEOUT_MS));
  expect(told).toHaveLength(3);
});

it("asks the connection that takes its place", async () => {
  const answers = async () => undefined;
  const told = watch(answers, never, answers);
  await eventually(() => expect(told).toEqual(["ready", "given up", "not ready", "ready"]));
});

it("waits for one that is being opened, however slowly", async () => {
  const opening = Promise.withResolvers();
  const told = watch(() => opening.promise, never);
  await eventually(() => expect(told).toEqual(["not ready"]));
  opening.resolve(undefined);
  await eventually(() => expect(told.slice(0, 2)).toEqual(["not ready", "ready"]));
});

it("keeps one that refuses, until it answers", async () => {
  const told = watch(
    () => Promise.reject(new Error("no")),
    async () => undefined,
  );
  await eventually(() => expect(told).toEqual(["not ready", "ready"]));
});

it("hears an answer that came while the process was busy for longer than it waits", async () => {
  const told = watch(
    () =>
      new Promise((resolve) => {
        setImmediate(() => {
          stat(".").then(resolve);
          const until = performance.now() + 2 * TIMEOUT_MS;
          while (performance.now() < until);
        });
      }),
  );
  await eventually(() => expect(told).toEqual(["ready"]));
});
