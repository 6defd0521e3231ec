import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { describeWithSystemd } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { spawnGuarded } from "../../testkit/guarded-process.ts";
import { REPOSITORY } from "../../testkit/repository-copy.ts";
import { runProgram } from "../../testkit/run-program.ts";
import { startServer } from "../../testkit/server-process.ts";
import { allBlocksOf, readPage } from "../repo/pages.ts";

/** systemd's score from 0 (safe) to 10. It calls up to 2.0 "OK"; without hardening this unit has 9.6. */
const MOST_EXPOSURE = 2;

/** Prints each message to a socket of datagrams, as systemd would receive it. */
const RECEIVER = `import socket, sys
receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.bind(sys.argv[1])
print("bound", flush=True)
while True: print(receiver.recv(4096).decode(), flush=True)`;

describeWithSystemd("the unit of systemd", () => {
  let folder: string;
  /** With a program that exists on this machine. */
  const unit = readFileSync(join(REPOSITORY, "ops/systemd/claviger.service"), "utf8").replace(
    "/opt/claviger/node_modules/.bin/claviger",
    join(REPOSITORY, "bin/claviger.js"),
  );

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "claviger-unit-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** Runs `systemd-analyze` on a unit with that text. */
  function analyze(text: string, ...args: string[]) {
    writeFileSync(join(folder, "claviger.service"), text);
    return runProgram(inject("systemd") ?? "", [...args, join(folder, "claviger.service")]);
  }

  /** The complaints about the unit; units of the machine that it names may have others. */
  async function complaintsAbout(text: string): Promise<string[]> {
    const { stderr } = await analyze(text, "verify");
    return stderr.split("\n").filter((line) => line.includes("claviger.service"));
  }

  it("has no error and no unknown setting, with the variations of the page too", async () => {
    const variations = allBlocksOf(readPage(REPOSITORY, "docs/operate/systemd.md")).filter(
      ({ language }) => language === "ini",
    );
    expect(variations).toHaveLength(2);
    for (const { text } of [{ text: "" }, ...variations]) {
      expect(await complaintsAbout(`${unit}\n${text}`)).toEqual([]);
    }
  });

  it("control: an unknown setting is reported", async () => {
    const wrong = unit.replace("ProtectSystem=", "ProtectSystems=");
    expect(await complaintsAbout(wrong)).toEqual([expect.stringContaining("ProtectSystems")]);
  });

  it(`has an exposure of at most ${MOST_EXPOSURE} of 10`, async () => {
    const threshold = `--threshold=${MOST_EXPOSURE * 10}`;
    expect(await analyze(unit, "security", "--offline=yes", threshold)).toMatchObject({ code: 0 });
    const [bare = ""] = unit.split("DynamicUser=");
    expect((await analyze(bare, "security", "--offline=yes", threshold)).code).toBe(1);
  });

  it("gives a server longer to stop than its calls have to finish", () => {
    const [, seconds] = /^TimeoutStopSec=(\d+)$/m.exec(unit) ?? [];
    const [, drainMs] =
      /^\| `drainMs` \| `(\d+)`/m.exec(readFileSync(join(REPOSITORY, "docs/reference/settings.md"), "utf8")) ?? [];
    expect(Number(seconds) * 1000).toBeGreaterThan(Number(drainMs));
  });

  it("hears READY=1 once the server listens", async () => {
    const socket = join(folder, "notify");
    const receiver = await spawnGuarded({
      command: "python3",
      args: ["-c", RECEIVER, socket],
      spawn: { stdio: ["ignore", "pipe", "ignore"] },
    });
    let received = "";
    receiver.child.stdout?.setEncoding("utf8").on("data", (data: string) => {
      received += data;
    });
    const hears = (what: string) =>
      eventually(() => {
        if (!received.includes(what)) throw new Error(`systemd would have heard only: ${received}`);
      });
    try {
      await hears("bound");
      const template = inject("embedded").template;
      cpSync(template, join(folder, "data/database"), { recursive: true });
      const server = await startServer({ env: { CLAVIGER_DATA_DIR: join(folder, "data"), NOTIFY_SOCKET: socket } });
      await hears("READY=1");
      await server.stop();
    } finally {
      receiver.child.kill("SIGKILL");
      await receiver.exited;
    }
  });
});
