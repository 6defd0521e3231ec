import type { Contestant } from "./contestant.ts";

/** The result of a turn. */
export interface Turn {
  readonly verifications: number;
  /** Until everything that was begun was done, also what was left for later. */
  readonly seconds: number;
  /** CPU of the process that verifies, in all. */
  readonly cpuSeconds: number;
  /** Milliseconds of each. */
  readonly latencies: readonly number[];
}

const KEYS_PER_USER = 10;
const SEEDED_AT_ONCE = 32;

/** Makes keys, ten to a user, by the contestant's own means. */
export async function seed(contestant: Contestant, count: number): Promise<string[]> {
  const secrets: string[] = [];
  let made = 0;
  const work = async () => {
    while (made < count) {
      const user = Math.floor(made++ / KEYS_PER_USER);
      secrets.push((await contestant.create({ user })).secret);
    }
  };
  await Promise.all(Array.from({ length: SEEDED_AT_ONCE }, work));
  return secrets;
}

/** Verifies secrets for `ms` milliseconds, `atOnce` of them at once. */
export async function turn(
  contestant: Contestant,
  secrets: readonly string[],
  atOnce: number,
  ms: number,
): Promise<Turn> {
  const latencies: number[] = [];
  const before = process.cpuUsage();
  const began = performance.now();
  let next = 0;
  const work = async () => {
    while (performance.now() < began + ms) {
      const at = performance.now();
      const isValid = await contestant.verify(secrets[(next++ * 7919) % secrets.length] as string);
      if (!isValid) throw new Error("a good key was refused");
      latencies.push(performance.now() - at);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  await contestant.settled();
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(before);
  return { verifications: latencies.length, seconds, cpuSeconds: (user + system) / 1e6, latencies };
}
