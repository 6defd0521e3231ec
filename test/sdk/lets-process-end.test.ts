import { createServer, type Server } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startClaviger, type TestClaviger } from "../../testkit/claviger.ts";
import { freePort } from "../../testkit/free-port.ts";
import { REPOSITORY } from "../../testkit/repository-copy.ts";
import { runProgram } from "../../testkit/run-program.ts";
import { makeKey } from "../rpc/make-key.ts";

let claviger: TestClaviger;
let silent: Server;
let secret: string;
let urls: Record<"good" | "silent" | "nothing", string>;

beforeAll(async () => {
  claviger = await startClaviger("embedded");
  secret = (await makeKey(claviger.admin, { owner: "alice" })).secret;
  silent = createServer(() => undefined);
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const address = silent.address();
  if (address === null || typeof address === "string") throw new Error("the server listens on a port");
  const nothing = `http://127.0.0.1:${await freePort()}`;
  urls = { good: claviger.url, silent: `http://127.0.0.1:${address.port}`, nothing };
});
afterAll(async () => {
  silent.close();
  await claviger.close();
});

const BEGIN = `import { createVerifier } from ${JSON.stringify(`${REPOSITORY}/src/sdk/index.ts`)};
const verifier = createVerifier({ timeoutMs: 2000, onWarning: () => undefined });
`;
const UNTIL_FRESH = "while (!verifier.fresh) await new Promise((done) => setTimeout(done, 20));\n";
const ASK = `console.log(await verifier.verify(process.env.SECRET).then(({ key }) => key.owner, ({ code }) => code));\n`;

/** Runs a program without a word of `close()`, to its end. */
async function run(program: string, url: string) {
  const env = { CLAVIGER_URL: url, CLAVIGER_TOKEN: claviger.adminToken, SECRET: secret };
  const { code, stdout, stderr } = await runProgram(process.execPath, ["--input-type=module-typescript"], {
    cwd: REPOSITORY,
    env,
    stdin: program,
  });
  return { code, stdout, stderr };
}

describe("a program that forgets close()", { timeout: 120_000 }, () => {
  it.each([
    ["has asked nothing", BEGIN, "good", ""],
    ["has attached and answered from memory", BEGIN + UNTIL_FRESH + ASK + ASK, "good", "alice\nalice\n"],
    ["has asked at once", BEGIN + ASK, "good", "alice\n"],
    ["has a server that never answers", BEGIN + ASK, "silent", "14\n"],
    ["has asked nothing of a server that never answers", BEGIN, "silent", ""],
    ["has no server", BEGIN + ASK, "nothing", "14\n"],
  ] as const)("ends by itself, but not before its answer, if it %s", async (_, program, url, stdout) => {
    expect(await run(program, urls[url])).toEqual({ code: 0, stdout, stderr: "" });
  });
});
