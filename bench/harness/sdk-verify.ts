/**
 * `node sdk-verify.ts url`, with the token in `CLAVIGER_TOKEN` and the secrets, a line each, on standard input: verifies
 * them in this process, in turns with the least that such a thing could do; prints what it takes.
 */
import { hash } from "node:crypto";
import { createInterface } from "node:readline";
import { setImmediate as turn } from "node:timers/promises";
import { createVerifier, Verdict } from "../../src/sdk/index.ts";
import { median, rounded } from "./bench.ts";

const TURNS = 9;
const PER_TURN = 400_000;
/** So that leases are renewed and usage is reported meanwhile, as in a process that has other work. */
const AT_ONCE = 2000;
const QUESTION = { scopes: ["orders:read"], method: "/orders.v1.Orders/Place" };

const secrets: string[] = [];
for await (const line of createInterface({ input: process.stdin })) secrets.push(line);
const verifier = createVerifier({ url: process.argv[2] ?? "", capacity: secrets.length });
while (!verifier.fresh) await new Promise((done) => setTimeout(done, 10));
for (let from = 0; from < secrets.length; from += 100) {
  await Promise.all(secrets.slice(from, from + 100).map((secret) => verifier.verify(secret, QUESTION)));
}
const [residentBefore, kept] = [process.memoryUsage.rss(), new Map<string, string>()];
for (const secret of secrets) kept.set(hash("sha256", secret), secret);

/** As a cache finds them: in no order that memory would like. */
const shuffled = secrets.map((secret, at) => secrets[(at * 48_271) % secrets.length] ?? secret);
let at = 0;
/** Each a new string, as one that a request brings. */
const fresh = () =>
  Array.from({ length: AT_ONCE }, () => Buffer.from(shuffled[at++ % shuffled.length] ?? "").toString("latin1"));

/** Microseconds of CPU for each. */
async function cost(work: (presented: readonly string[]) => void | Promise<void>): Promise<number> {
  let micros = 0;
  for (let done = 0; done < PER_TURN; done += AT_ONCE) {
    const presented = fresh();
    const before = process.cpuUsage();
    await work(presented);
    const { user, system } = process.cpuUsage(before);
    micros += user + system;
    await turn();
  }
  return micros / PER_TURN;
}

let asked = 0;
const least = (presented: readonly string[]) => {
  for (const secret of presented) if (kept.get(hash("sha256", secret)) === undefined) asked += 1;
};
const sync = (presented: readonly string[]) => {
  for (const secret of presented) {
    const verification = verifier.verifySync(secret, QUESTION);
    if (verification === "ask" || verification.verdict !== Verdict.VALID) asked += 1;
  }
};
const awaited = async (presented: readonly string[]) => {
  for (const secret of presented) {
    if ((await verifier.verify(secret, QUESTION)).verdict !== Verdict.VALID) asked += 1;
  }
};

const costs = { least: [] as number[], sync: [] as number[], awaited: [] as number[] };
for (let count = -2; count < TURNS; count++) {
  const one = { least: await cost(least), sync: await cost(sync), awaited: await cost(awaited) };
  if (count < 0) continue;
  for (const name of ["least", "sync", "awaited"] as const) costs[name].push(one[name]);
}
const ratios = costs.sync.map((micros, at) => micros / (costs.least[at] ?? 0));
console.log(
  JSON.stringify({
    ratio: rounded(median(ratios), 3),
    keys: secrets.length,
    microseconds: {
      verifySync: rounded(median(costs.sync), 3),
      verify: rounded(median(costs.awaited), 3),
      hashAndMap: rounded(median(costs.least), 3),
    },
    perSecond: { verifySync: Math.round(1e6 / median(costs.sync)), verify: Math.round(1e6 / median(costs.awaited)) },
    ratioOfVerify: rounded(median(costs.awaited) / median(costs.least), 2),
    notFromMemory: asked,
    megabytes: Math.round(residentBefore / 1e6),
  }),
);
await verifier.close();
