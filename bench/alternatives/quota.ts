import { rounded } from "../harness/bench.ts";
import type { Subject } from "./subject.ts";

const QUOTA = 5000;
const REQUESTS = 10_000;
const AT_ONCE = 1000;

export const QUOTA_SETTINGS = { quota: QUOTA, requests: REQUESTS, atOnce: AT_ONCE };

/** How many of 10,000 requests pass on a key that has 5,000. */
export async function ofQuota(subject: Subject) {
  const { secret } = await subject.create(QUOTA);
  const verdicts = { granted: 0, refused: 0, unanswered: 0 };
  let turn = 0;
  const work = async () => {
    while (turn < REQUESTS) verdicts[await subject.verify(secret, turn++)] += 1;
  };
  const began = performance.now();
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  const seconds = rounded((performance.now() - began) / 1000);
  const off = verdicts.granted - QUOTA;
  return { ...verdicts, tooMany: Math.max(0, off), tooFew: Math.max(0, -off), seconds };
}
