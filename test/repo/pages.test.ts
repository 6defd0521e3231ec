import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithGo, describeWithPostgres, describeWithPython } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { goEnvironment } from "../../testkit/foreign-clients.ts";
import { freePort } from "../../testkit/free-port.ts";
import { endWithin, type GuardedProcess, spawnGuarded } from "../../testkit/guarded-process.ts";
import { copyRepository, type RepositoryCopy } from "../../testkit/repository-copy.ts";
import { inheritedEnv } from "../../testkit/server-process.ts";
import { followBlocks, SERVE_FOR_A_MOMENT } from "./follow-blocks.ts";
import { allBlocksOf, blocksOf, readPage, type Substitution } from "./pages.ts";
import { openTerminal, type Terminal } from "./terminal.ts";

const MOST_README_LINES = 150;
const PAGE_ADDRESS = "127.0.0.1:4640";

/** Milliseconds. A test here starts a dozen programs, on a machine that may be busy. */
const START_MS = 60_000;
const TEST_MS = 120_000;

let clone: RepositoryCopy;
let address: string;

interface Started {
  readonly process: GuardedProcess;
  readonly output: () => string;
}

/** `npm start` in the clone, until it listens or has ended. */
async function npmStart(): Promise<Started> {
  const started = await spawnGuarded({
    command: "npm",
    args: ["start"],
    spawn: {
      cwd: clone.folder,
      env: { ...inheritedEnv(), CLAVIGER_LISTEN: address },
      stdio: ["ignore", "pipe", "pipe"],
    },
  });
  let output = "";
  for (const stream of [started.child.stdout, started.child.stderr]) {
    stream?.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const settled = () => {
    if (!started.hasExited() && !output.includes("listening on")) throw new Error(`npm start says only: ${output}`);
  };
  await eventually(settled, { withinMs: START_MS });
  return { process: started, output: () => output };
}

/** SIGTERM to npm alone, as from a supervisor. */
async function terminate({ process: npm }: Started): Promise<number | null> {
  npm.child.kill("SIGTERM");
  await endWithin(npm, 15_000);
  return npm.child.exitCode;
}

async function serverPid(): Promise<number> {
  return Number(await readFile(join(clone.folder, ".claviger/holder"), "utf8"));
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** The commands that a start printed, to be pasted: export, create, verify, revoke. */
function printedCommands(output: string): [setUp: string, create: string, verify: string, revoke: string] {
  const [setUp, create, verify, revoke, ...rest] = output.split("\n").filter((line) => line.startsWith("  "));
  if (!setUp || !create || !verify || !revoke || rest.length > 0) throw new Error(`unexpected commands in ${output}`);
  return [setUp, create, verify, revoke];
}

beforeAll(async () => {
  clone = await copyRepository();
  address = `127.0.0.1:${await freePort()}`;
});
afterAll(() => clone.remove());

describe("the README", () => {
  it("starts with two commands: npm start and npm test", () => {
    const texts = blocksOf(readPage(clone.folder, "README.md"), "Quick start").map(({ text }) => text);
    expect(texts).toEqual(["npm start\n", "npm test\n"]);
  });

  it(`has at most ${MOST_README_LINES} lines`, async () => {
    const text = await readFile(join(clone.folder, "README.md"), "utf8");
    expect(text.trimEnd().split("\n").length).toBeLessThanOrEqual(MOST_README_LINES);
  });
});

describe("npm start, as README.md has it", { timeout: TEST_MS }, () => {
  let server: Started;
  let setUp: string;
  let commands: string[];

  beforeAll(async () => {
    server = await npmStart();
    [setUp, ...commands] = printedCommands(server.output());
  });
  afterAll(async () => {
    await terminate(server);
    // Only if npm had not passed the signal on, which is what a test here would have shown.
    const pid = await serverPid();
    if (isRunning(pid)) process.kill(pid, "SIGKILL");
  });

  /** A terminal in the clone after the `export` line of the start. */
  async function clientTerminal(env: Record<string, string> = {}): Promise<Terminal> {
    const terminal = await openTerminal(clone.folder, env);
    await terminal.paste(setUp);
    return terminal;
  }

  /** Saves the programs of a page and runs its commands, in its order. Returns what the commands printed. */
  function follow(terminal: Terminal, page: string, substitutions: readonly Substitution[] = []): Promise<string> {
    return followBlocks(terminal, clone.folder, allBlocksOf(readPage(clone.folder, page), substitutions));
  }

  it("prints commands that create, verify and revoke a key", async () => {
    const [create = "", verify = "", revoke = ""] = commands;
    await using terminal = await openTerminal(clone.folder);
    await terminal.paste(setUp);
    await terminal.paste(create);
    expect(await terminal.run(verify)).toMatchObject({ code: 0, stdout: expect.stringMatching(/^VALID:/) });
    await terminal.paste(revoke);
    expect(await terminal.run(verify)).toMatchObject({ code: 1, stdout: expect.stringMatching(/^REVOKED:/) });
  });

  it("serves the commands of the page on the command line", async () => {
    await using terminal = await clientTerminal();
    expect(await follow(terminal, "docs/clients/cli.md")).toMatch(/VALID:.*key_.*revoked/s);
  });

  it("serves JSON", async () => {
    await using terminal = await clientTerminal();
    expect(
      JSON.parse(await follow(terminal, "docs/clients/json.md", [{ find: PAGE_ADDRESS, replace: address }])),
    ).toMatchObject({
      verdict: "VERDICT_VALID",
      key: { owner: "bob", displayName: "client" },
    });
  });

  describeWithPython("the Python client", () => {
    it("is generated and verifies a secret", async () => {
      const folder = inject("python")?.folder;
      await using terminal = await clientTerminal({ PATH: `${folder}:${process.env.PATH}` });
      const substitutions = [
        { find: PAGE_ADDRESS, replace: address },
        // The Python that was brought has it.
        { find: "pip install grpcio grpcio-tools\n", replace: "" },
      ];
      expect(await follow(terminal, "docs/clients/python.md", substitutions)).toBe("VERDICT_VALID bob\n");
    });
  });

  describeWithGo("the Go client", () => {
    it("is generated and verifies a secret", { timeout: 240_000 }, async () => {
      const { env, takeModule } = goEnvironment();
      await takeModule(join(clone.folder, "client"));
      await using terminal = await clientTerminal(env);
      const substitutions = [
        { find: PAGE_ADDRESS, replace: address },
        // The module is there already, with versions that are pinned.
        { find: "go mod init example && go mod tidy\n", replace: "" },
      ];
      expect(await follow(terminal, "docs/clients/go.md", substitutions)).toContain("VERDICT_VALID bob\n");
    });
  });

  it("refuses a second server on the same folder, with the holder's process id", async () => {
    const second = await npmStart();
    expect((await second.process.exited).code).toBe(3);
    expect(second.output()).toContain(`held by process ${await serverPid()}`);
  });

  it("leaves no process behind after SIGTERM, and keeps the keys for the next start, which shows no admin key", async () => {
    await using terminal = await clientTerminal();
    await terminal.paste(commands[0] ?? "");
    const pid = await serverPid();
    expect(isRunning(pid)).toBe(true);
    await terminate(server);
    expect(isRunning(pid)).toBe(false);

    expect(server.output()).toMatch(/^admin key: clv_live_/m);
    server = await npmStart();
    expect(server.output()).not.toContain("admin key:");
    expect(await terminal.paste(commands[1] ?? "")).toMatch(/^VALID:/);
  });
});

describeWithPostgres("a server on Postgres, as its page has it", () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createTestDatabase();
  });
  afterAll(() => database.drop());

  it("is migrated, bootstrapped and served by the commands of that section", { timeout: TEST_MS }, async () => {
    await using terminal = await openTerminal(clone.folder, { CLAVIGER_LISTEN: `127.0.0.1:${await freePort()}` });
    const blocks = blocksOf(readPage(clone.folder, "docs/operate/postgres.md"), "Run on Postgres", [
      { find: "postgres://claviger@127.0.0.1:5432/claviger", replace: database.url },
      { find: "./bin/claviger.js serve\n", replace: `${SERVE_FOR_A_MOMENT}\n` },
    ]);
    const commands = blocks.filter(({ language }) => language === "sh");
    expect(commands.length).toBe(1);
    for (const { text } of commands) expect(await terminal.paste(text)).toMatch(/^admin key: clv_live_/m);
  });
});
