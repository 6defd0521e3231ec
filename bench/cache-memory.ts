import { fileURLToPath } from "node:url";
import { outputOf } from "../testkit/run-program.ts";
import type { Bench } from "./harness/bench.ts";
import { openPlace } from "./harness/claviger.ts";

const KEYS = 1_000_000;
const SCRIPT = fileURLToPath(new URL("./harness/cache-memory.ts", import.meta.url));

export const bench: Bench = {
  id: "cache-memory",
  question: "memory of the cache for each of 1,000,000 keys, as read from Postgres",
  reference: "700 bytes",
  goal: 1,
  async run() {
    const place = await openPlace(KEYS);
    const env = { DATABASE_URL: place.env.DATABASE_URL ?? "" };
    const figures = JSON.parse(await outputOf(process.execPath, ["--expose-gc", SCRIPT, String(KEYS)], { env }));
    await place.stop();
    return { ratio: figures.bytesPerKey / 700, figures };
  },
};
