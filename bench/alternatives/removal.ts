import { setTimeout as sleep } from "node:timers/promises";
import { rounded, spread } from "../harness/bench.ts";
import type { Subject } from "./subject.ts";

const TRIALS = 20;
const AT_ONCE = 32;
const WATCHED_MS = 200;
const LATER_MS = 2000;

interface Trial {
  readonly secret: string;
  /** Questions asked after the removal was acknowledged, and how many of them were answered with yes. */
  readonly asked: number;
  readonly accepted: number;
  /** From the acknowledgement to the last yes. */
  readonly lastMs: number;
}

export const REMOVAL_SETTINGS = { trials: TRIALS, atOnce: AT_ONCE, watchedMs: WATCHED_MS };

/** Keys are removed, and others disabled, while both servers are asked about them: is a later question still answered with yes? */
export async function afterRemoval(subject: Subject) {
  return { delete: await trials(subject, subject.remove), disable: await trials(subject, subject.disable) };
}

async function trials(subject: Subject, act: Subject["remove"]) {
  const done: Trial[] = [];
  for (let at = 0; at < TRIALS; at++) done.push(await trial(subject, act));
  await sleep(LATER_MS);
  const later = await Promise.all(done.map(({ secret }, at) => subject.verify(secret, at)));
  const late = done.filter(({ accepted }) => accepted > 0);
  const total = (of: (trial: Trial) => number) => done.reduce((sum, one) => sum + of(one), 0);
  return {
    ...{ keysAcceptedLater: late.length, ofKeys: TRIALS },
    ...{ answersYes: total(({ accepted }) => accepted), ofAnswers: total(({ asked }) => asked) },
    lastYesMsAfterwards: late.length === 0 ? 0 : spread(late.map(({ lastMs }) => lastMs)),
    [`keysAcceptedStillAfter${LATER_MS / 1000}s`]: later.filter((verdict) => verdict === "granted").length,
  };
}

async function trial(subject: Subject, act: Subject["remove"]): Promise<Trial> {
  const { id, secret } = await subject.create();
  let [running, acknowledged, turn] = [true, Number.POSITIVE_INFINITY, 0];
  let [asked, accepted, last] = [0, 0, 0];
  const work = async () => {
    while (running) {
      const began = performance.now();
      const verdict = await subject.verify(secret, turn++);
      if (began <= acknowledged) continue;
      asked += 1;
      if (verdict === "granted") [accepted, last] = [accepted + 1, performance.now()];
    }
  };
  const workers = Array.from({ length: AT_ONCE }, work);
  await sleep(WATCHED_MS / 4);
  await act(id);
  acknowledged = performance.now();
  await sleep(WATCHED_MS);
  running = false;
  await Promise.all(workers);
  return { secret, asked, accepted, lastMs: last === 0 ? 0 : rounded(last - acknowledged) };
}
