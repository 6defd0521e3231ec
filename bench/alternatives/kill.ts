import { setTimeout as sleep } from "node:timers/promises";
import { rounded } from "../harness/bench.ts";
import type { Made } from "./contestant.ts";
import type { Subject } from "./subject.ts";

/** No multiple of the second in which Claviger sends what it counted. */
const LOADED_MS = 2600;
/** Until the other server must have heard of everything that was kept. */
const SETTLED_MS = 3000;
const QUOTA = 10_000_000;

/** The granted uses that the counts lack: after a quiet end, and after a kill -9, one at a time and 32 at once. */
export async function lostByKill(open: () => Promise<Subject>) {
  const figures: Record<string, unknown> = { loadedMs: LOADED_MS };
  for (const atOnce of [1, 32]) {
    const subject = await open();
    const one = (isKilled: boolean) => loaded(subject, atOnce, isKilled);
    figures[`atOnce${atOnce}`] = { quietEnd: await one(false), killed: await one(true) };
    await subject.stop();
  }
  return figures;
}

async function loaded(subject: Subject, atOnce: number, isKilled: boolean) {
  const made = await create(subject);
  let [running, granted, lastGranted] = [true, 0, 0];
  const work = async () => {
    while (running) {
      const verdict = await subject.verify(made.secret, 0);
      if (verdict === "granted") [granted, lastGranted] = [granted + 1, Date.now()];
    }
  };
  const workers = Array.from({ length: atOnce }, work);
  await sleep(LOADED_MS);
  if (isKilled) await subject.kill();
  running = false;
  await Promise.all(workers);
  await sleep(SETTLED_MS);
  const counted = await subject.counted(made.id, QUOTA);
  if (counted === undefined) return { granted, counted: "nothing is counted" };
  const lost = granted - counted.uses;
  return {
    ...{ granted, counted: counted.uses, lost, lostSecondsOfLoad: rounded((lost / granted) * (LOADED_MS / 1000)) },
    lastUseBehindMs: counted.lastUse === 0 ? "never used" : Math.round(lastGranted - counted.lastUse),
  };
}

/** Creates a key with a quota that is never met, since better-auth counts uses by the rest of the quota. */
function create(subject: Subject): Promise<Made> {
  return subject.create(subject.name === "claviger" ? undefined : QUOTA);
}
