import { pino } from "pino";
import { beforeEach, expect, it, vi } from "vitest";
import { ClavigerError } from "../../keys/errors.ts";
import { Outage, type OutageOptions } from "./outage.ts";

const CALM_MS = 5000;

beforeEach(() => {
  vi.useFakeTimers();
  return () => vi.useRealTimers();
});

/** An outage, and its lines of level `info` and above as `level: message, reason or numbers`. */
function harness(options: Partial<OutageOptions> = {}) {
  const lines: string[] = [];
  const write = (text: string) => {
    const { level, msg, err, reason, failures, forMs } = JSON.parse(text);
    const about = failures === undefined ? (err?.message ?? reason) : `${failures} in ${forMs} ms`;
    lines.push(`${pino().levels.labels[level]}: ${msg}, ${about}`);
  };
  const log = pino({ base: null }, { write });
  return { lines, outage: new Outage({ log, event: "tested", failing: "bad", well: "good", ...options }) };
}

it("has one line when it begins and one when it is over, with its failures and how long it lasted", () => {
  const { lines, outage } = harness();
  outage.succeeded();
  for (let failure = 0; failure < 1000; failure++) {
    outage.failed(new Error("refused"));
    vi.advanceTimersByTime(1000);
  }
  expect(lines).toEqual(["warn: bad, refused"]);
  outage.succeeded();
  expect(lines).toHaveLength(1);
  vi.advanceTimersByTime(CALM_MS);
  expect(lines.slice(1)).toEqual(["info: good, 1000 in 1000000 ms"]);
  vi.advanceTimersByTime(10 * CALM_MS);
  outage.succeeded();
  expect(lines).toHaveLength(2);
  outage.failed(new Error("refused"));
  expect(lines.slice(2)).toEqual(["warn: bad, refused"]);
});

it("has a line more for each further reason, three at most", () => {
  const { lines, outage } = harness();
  for (let pid = 0; pid < 100; pid++) outage.failed(new Error("outer", { cause: new Error(`process ${pid}`) }));
  expect(lines).toEqual(
    ["warn: bad, outer", "warn: bad, outer", "warn: bad, outer"].map((line) => expect.stringContaining(line)),
  );
});

it("is one outage while failures and successes alternate", () => {
  const { lines, outage } = harness();
  for (let turn = 0; turn < 1000; turn++) {
    outage.failed("refused");
    outage.succeeded();
    vi.advanceTimersByTime(CALM_MS - 1);
  }
  expect(lines).toEqual(["warn: bad, refused"]);
  vi.advanceTimersByTime(1);
  expect(lines).toHaveLength(2);
});

it("adds nothing to an outage of storage, which has lines of its own", async () => {
  const { lines, outage } = harness();
  const away = new ClavigerError("STORAGE_UNAVAILABLE", "storage does not answer. Retry in a moment");
  await outage.watch(() => Promise.reject(away));
  await outage.watch(async () => undefined);
  vi.advanceTimersByTime(CALM_MS);
  expect(lines).toEqual([]);
  await outage.watch(() => Promise.reject(away));
  await outage.watch(() => Promise.reject(new Error("a defect")));
  expect(lines).toEqual(["warn: bad, a defect"]);
});
