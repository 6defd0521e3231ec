import pino from "pino";
import { expect, it } from "vitest";
import { RedisStates } from "./redis-states.ts";

function open() {
  const lines: Record<string, unknown>[] = [];
  const log = pino({ base: null, timestamp: false }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  let now = 0;
  const states = new RedisStates({ log, monotonicMs: () => now });
  return { states, lines, after: (ms: number) => (now += ms) };
}

it("an outage is told once when it has lasted, and once when it is over", () => {
  const { states, lines, after } = open();
  const limiter = states.of("limiter");
  limiter.worked();
  for (let second = 0; second < 10; second++) {
    limiter.failed(`reason ${second}`);
    after(1000);
  }
  expect(lines).toEqual([
    {
      level: 40,
      event: "redis",
      purpose: "limiter",
      reason: "reason 3",
      msg: expect.stringContaining("cannot be used"),
    },
  ]);
  limiter.worked();
  limiter.worked();
  expect(lines.slice(1)).toEqual([
    { level: 30, event: "redis", purpose: "limiter", forMs: 10_000, msg: "Redis can be used again" },
  ]);
});

it("a reconnection is not told, and outages do not add up", () => {
  const { states, lines, after } = open();
  const bus = states.of("bus");
  for (let turn = 0; turn < 5; turn++) {
    bus.failed("closed");
    after(2000);
    bus.worked();
    after(2000);
  }
  expect(lines).toEqual([]);
});

it("each purpose is up for itself, and not before it has worked", () => {
  const { states } = open();
  const [bus, limiter] = [states.of("bus"), states.of("limiter")];
  expect([...states.up]).toEqual([
    ["bus", false],
    ["limiter", false],
  ]);
  bus.worked();
  limiter.worked();
  limiter.failed("away");
  expect([...states.up]).toEqual([
    ["bus", true],
    ["limiter", false],
  ]);
});
