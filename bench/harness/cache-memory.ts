/** `node --expose-gc cache-memory.ts keys`: keeps that many secrets of a database; prints the memory that they take. */
import { connectPostgres } from "../../src/postgres/connect/postgres-connection.ts";
import { secretVersion } from "../../src/postgres/schema.ts";
import { findByDigests } from "../../src/postgres/secrets.ts";
import { Storage } from "../../src/postgres/storage.ts";
import { describeFound } from "../../src/rpc/describe-found.ts";
import { DEFAULT_POLICY } from "../../src/server/config/policy.ts";
import { CLOCK_RATE_ERROR } from "../../src/system/clocks.ts";
import { systemClocks, systemRandom } from "../../src/system/node.ts";
import { Lease } from "../../src/verify/lease.ts";
import { createReady } from "../../src/verify/ready-secret.ts";
import { SecretCache } from "../../src/verify/secret-cache.ts";

const KEYS = Number(process.argv[2]);
const BATCH = 1000;
const options = { ...DEFAULT_POLICY.postgres, url: process.env.DATABASE_URL ?? "", role: undefined };
const storage = new Storage({ connect: () => connectPostgres(options), timeoutMs: 60_000 });
const lease = new Lease(systemClocks);
lease.grant({ monotonicMs: systemClocks.monotonicMs(), wallMs: systemClocks.wallMs() }, 3_600_000);
const cache = new SecretCache({
  ...{ lease, clocks: systemClocks, random: systemRandom, capacity: KEYS, maxAgeMs: 3_600_000 },
});
const ready = createReady({ clockRateError: CLOCK_RATE_ERROR, describe: describeFound });

function bytes(): number {
  for (let i = 0; i < 3; i++) globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function keep(digests: readonly Buffer[]): Promise<void> {
  const found = await storage.read((database) => findByDigests(database, digests));
  // A place is as long for any secret.
  for (const [digest, each] of found) {
    const fill = cache.beginFill(cache.placeOf(digest));
    cache.keep(fill, ready(each, fill.start));
  }
}

const rows = await storage.read((database) =>
  database.select({ digest: secretVersion.digest }).from(secretVersion).limit(KEYS),
);
const digests = Buffer.concat(rows.splice(0).map(({ digest }) => digest));
const count = digests.length / 32;
const digestAt = (at: number) => digests.subarray(at * 32, (at + 1) * 32);
await keep([digestAt(0)]);
const before = bytes();
for (let from = 1; from < count; from += BATCH) {
  await keep(Array.from({ length: Math.min(BATCH, count - from) }, (_, at) => digestAt(from + at)));
}
const took = bytes() - before;
console.log(
  JSON.stringify({
    keys: cache.size,
    megabytes: Math.round(took / 1e6),
    bytesPerKey: Math.round(took / (cache.size - 1)),
  }),
);
await storage.close();
