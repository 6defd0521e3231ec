import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import type { Bench } from "./harness/bench.ts";
import { openPlace } from "./harness/claviger.ts";

const KEYS = 100_000;
const SCRIPT = fileURLToPath(new URL("./harness/sdk-verify.ts", import.meta.url));
/** One agent that uses as many keys as a node keeps. */
const POLICY = JSON.stringify({ sync: { keysPerStream: 2 * KEYS }, verify: { cacheEntries: 2 * KEYS } });

export const bench: Bench = {
  id: "verify-in-agent",
  question: "`verifySync` of the SDK, in an agent's own process, 100,000 keys kept; CPU for each",
  reference: "`crypto.hash` and `Map.get` in a loop",
  goal: 2,
  async run() {
    const place = await openPlace(KEYS);
    const server = await place.serve({ CLAVIGER_POLICY: POLICY });
    const child = spawn(process.execPath, [SCRIPT, server.url], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, CLAVIGER_TOKEN: place.token },
    });
    child.stdin.end(place.secrets.join("\n"));
    const [output] = await Promise.all([text(child.stdout), once(child, "exit")]);
    await place.stop();
    const { ratio, ...figures } = JSON.parse(output);
    return { ratio, figures };
  },
};
