import { beforeEach, expect, it } from "vitest";
import { SyncTurns } from "./sync-turns.ts";

const MOST_TURN_MS = 5;
const nextTurn = () => new Promise(setImmediate);

let nowMs: number;
let turns: SyncTurns;
let handled: string[];

beforeEach(() => {
  [nowMs, handled] = [0, []];
  turns = new SyncTurns({ monotonicMs: () => nowMs, mostTurnMs: MOST_TURN_MS });
});

/** A stream that says so much at once, and takes 1 ms for each message. */
function say(callerId: string, messages: number): void {
  const handle = () => {
    handled.push(callerId);
    nowMs += 1;
    if (messages > handled.filter((each) => each === callerId).length && turns.take(callerId, handle)) handle();
  };
  if (turns.take(callerId, handle)) handle();
}

it("a flood of messages is handled for a bounded time in each turn of the event loop", async () => {
  say("flood", 20);
  expect(handled).toHaveLength(MOST_TURN_MS + 1);
  await nextTurn();
  expect(handled).toHaveLength(2 * (MOST_TURN_MS + 1));
  await nextTurn();
  await nextTurn();
  expect(handled).toHaveLength(20);
});

it("the callers take turns: the message of another is among the next", async () => {
  say("flood", 100);
  say("flood", 100);
  say("other", 1);
  await nextTurn();
  expect(handled.indexOf("other")).toBeLessThan(MOST_TURN_MS + 1 + 3);
});

it("every message is handled once, in order, however many streams wait", async () => {
  const streams = Array.from({ length: 50 }, (_, at) => `caller${at % 7}`);
  let count = 0;
  for (const callerId of streams) {
    const work = () => {
      count += 1;
      nowMs += 1;
    };
    if (turns.take(callerId, work)) work();
  }
  for (let turn = 0; turn < 20; turn++) await nextTurn();
  expect(count).toBe(50);
});
