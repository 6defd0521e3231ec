import { BETTER_AUTH_POOL, PLUGIN_SETTINGS, STORAGES } from "./alternatives/better-auth.ts";
import { BY_HAND_POOL } from "./alternatives/by-hand.ts";
import { clavigerSubject } from "./alternatives/claviger-subject.ts";
import { installAlternatives } from "./alternatives/install.ts";
import { lostByKill } from "./alternatives/kill.ts";
import { ofQuota, QUOTA_SETTINGS } from "./alternatives/quota.ts";
import { clavigerRacer, contestantRacers, type Racer } from "./alternatives/racers.ts";
import { afterRemoval, REMOVAL_SETTINGS } from "./alternatives/removal.ts";
import { race } from "./alternatives/speed.ts";
import { openStores, type SharedStores } from "./alternatives/stores.ts";
import { contestantSubject, type Subject } from "./alternatives/subject.ts";
import type { Answer, Bench } from "./harness/bench.ts";
import { type BenchPlace, openPlace } from "./harness/claviger.ts";

const KEYS = 10_000;
const BETTER_AUTH = Object.keys(STORAGES).map((storage) => `better-auth-${storage}`);
const BY_HAND = ["by-hand-get", "by-hand-hgetall", "by-hand-select"];

export const bench: Bench = {
  id: "alternatives",
  question:
    "server CPU of a warm verification among 10,000 keys, compared with alternatives; deletions, quotas and kills",
  reference: "better-auth verifyApiKey behind node:http on its fastest storage",
  goal: 1,
  run,
};

async function run(): Promise<Answer> {
  const versions = installAlternatives();
  const place = await openPlace(KEYS);
  const stores = await openStores(place.env);
  try {
    const { cpu, figures } = await speed(place, stores);
    const http = BETTER_AUTH.map((name) => [`${name}, node:http`, cpu[`${name}, node:http`] ?? 0] as const);
    const [fastest, least] = [...http].sort(([, a], [, b]) => a - b)[0] ?? ["", 0];
    return {
      ratio: (cpu["claviger, gRPC"] ?? 0) / least,
      figures: {
        versions: { ...versions, ...stores.versions },
        settings: {
          ...{ keys: KEYS, keysPerUserOfBetterAuth: 10, betterAuth: PLUGIN_SETTINGS, storages: STORAGES },
          connections: { betterAuth: BETTER_AUTH_POOL, byHand: BY_HAND_POOL },
        },
        ...{ reference: fastest, speed: figures, ...(await promises(place, stores)) },
      },
    };
  } finally {
    await stores.close();
    await place.stop();
  }
}

async function speed(place: BenchPlace, stores: SharedStores) {
  const racers: Racer[] = [await clavigerRacer(place)];
  try {
    for (const name of [...BETTER_AUTH, ...BY_HAND]) racers.push(...(await contestantRacers(name, stores, KEYS)));
    return await race(racers, stores);
  } finally {
    await Promise.all(racers.map((racer) => racer.stop()));
  }
}

/** The deletions, quotas and counts that each contestant keeps. */
async function promises(place: BenchPlace, stores: SharedStores) {
  const open = async (name: string): Promise<Subject> =>
    name === "claviger" ? clavigerSubject(place.env, place.token) : contestantSubject(name, await stores.envFor(name));
  const removal: Record<string, unknown> = { settings: REMOVAL_SETTINGS };
  const quota: Record<string, unknown> = { settings: QUOTA_SETTINGS };
  const kill: Record<string, unknown> = {};
  for (const name of ["claviger", ...BETTER_AUTH, ...BY_HAND]) {
    const subject = await open(name);
    removal[name] = await afterRemoval(subject);
    if (!BY_HAND.includes(name)) quota[name] = await ofQuota(subject);
    await subject.stop();
    if (!BY_HAND.includes(name)) kill[name] = await lostByKill(() => open(name));
  }
  return { afterDeleteOrDisable: removal, quota, killMinus9: kill };
}
