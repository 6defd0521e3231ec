import { readFileSync } from "node:fs";
import { Keyring } from "../src/keys/keyring.ts";
import { deriveRootKeys } from "../src/keys/root-secret.ts";
import { systemRandom } from "../src/system/node.ts";
import { type Bench, median, rounded } from "./harness/bench.ts";
import { frame, openPlace, warm } from "./harness/claviger.ts";
import { offer } from "./harness/offer.ts";

const KEYS = 10_000;
const TURNS = 9;
const SECONDS = 2;
/** Calls of each kind a second: together well below the capacity of one core, since the clients need the other. */
const PER_SECOND = 3000;

export const bench: Bench = {
  id: "forged-flood",
  question: "throughput of valid traffic alone, against that beside as many forged secrets of the right form",
  reference: "itself beside the flood",
  goal: 1.25,
  async run() {
    const place = await openPlace(KEYS, { log_statement: "all" });
    const server = await place.serve();
    await warm(server, place.token, place.secrets);
    const forger = new Keyring({ roots: [deriveRootKeys(Buffer.alloc(32, 9))], brand: "clv" });
    const forged = Array.from({ length: KEYS }, () => frame(forger.mint("live", systemRandom, []).secret.reveal()));
    const valid = place.secrets.map(frame);
    const traffic = (bodies: readonly Buffer[]) =>
      offer({
        ...{ url: server.url, token: place.token, perSecond: PER_SECOND, seconds: SECONDS },
        body: (call) => bodies[(call * 7919) % bodies.length] as Buffer,
      });
    /** Statements that look a secret up. */
    const lookUps = () => (readFileSync(place.postgresLog, "utf8").match(/"secret_version"\."digest"/g) ?? []).length;
    const alone: number[] = [];
    const beside: number[] = [];
    const p99 = { alone: [] as number[], beside: [] as number[] };
    await traffic(valid);
    const before = lookUps();
    for (let turn = 0; turn < TURNS; turn++) {
      const quiet = await traffic(valid);
      const [own, flood] = await Promise.all([traffic(valid), traffic(forged)]);
      if (flood.verdicts.get("UNKNOWN") !== flood.answered) throw new Error("a forged secret was not called unknown");
      alone.push(quiet.answered / quiet.seconds);
      beside.push(own.answered / own.seconds);
      p99.alone.push(quiet.p99Ms);
      p99.beside.push(own.p99Ms);
    }
    const queries = lookUps() - before;
    if (queries > 0) throw new Error(`the flood reached the database: ${queries} statements`);
    await place.stop();
    const figures = {
      ...{ keys: KEYS, turns: TURNS, offeredPerSecond: { valid: PER_SECOND, forged: PER_SECOND } },
      answeredPerSecond: { alone: rounded(median(alone), 0), beside: rounded(median(beside), 0) },
      p99Ms: { alone: rounded(median(p99.alone)), beside: rounded(median(p99.beside)) },
      databaseLookUps: queries,
    };
    return { ratio: median(alone.map((value, at) => value / (beside[at] ?? 0))), figures };
  },
};
