import { once } from "node:events";
import { cp, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { type Clients, connect } from "../../testkit/connect.ts";
import { eventually } from "../../testkit/eventually.ts";
import { endWithin, spawnGuarded } from "../../testkit/guarded-process.ts";
import { REPOSITORY } from "../../testkit/repository-copy.ts";
import { runProgram } from "../../testkit/run-program.ts";
import { inheritedEnv, type ServerProcess, startServer } from "../../testkit/server-process.ts";
import { blocksOf, readPage } from "../repo/pages.ts";

const BIN = join(REPOSITORY, "bin/claviger.js");
const KEYS = 100;

/** Windows has no sockets in folders. */
describe.skipIf(process.platform === "win32")("claviger backup", () => {
  let place: string;
  let server: ServerProcess;
  let admin: Clients;

  beforeAll(async () => {
    place = await mkdtemp(join(tmpdir(), "claviger-backup-"));
    await cp(inject("embedded").template, join(place, ".claviger/database"), { recursive: true });
    server = await startServer({ cwd: place });
    admin = connect(server.url, (await readFile(join(place, ".claviger/admin-key"), "utf8")).trim());
  });
  afterAll(async () => {
    await server.stop();
    await rm(place, { recursive: true, force: true });
  });

  const claviger = (args: readonly string[], env: Record<string, string> = {}) =>
    runProgram(process.execPath, [BIN, ...args], { cwd: place, env });
  const modeOf = async (file: string) => (await stat(file)).mode & 0o777;

  async function create(number: number): Promise<{ id: string; secret: string }> {
    const { key, secret } = await admin.keys.createKey({
      owner: `owner${Math.floor(number / 5)}`,
      displayName: `key ${number}`,
    });
    return { id: key?.id ?? "", secret };
  }

  const verdictOf = async (secret: string) => (await admin.verifier.verify({ secret })).verdict;

  it("copies a running server under load, and the restored one answers as at that moment", async () => {
    const kept = await Promise.all(Array.from({ length: KEYS }, (_, number) => create(number)));
    const [early, late] = kept;
    if (early === undefined || late === undefined) throw new Error("no keys were made");
    await admin.keys.revokeKey({ keyId: early.id });

    let isDone = false;
    const load = (async () => {
      for (let number = KEYS; !isDone; number++) await create(number);
    })();
    const [command] = blocksOf(readPage(REPOSITORY, "docs/operate/backup.md"), "Back up the embedded database");
    const backup = await runProgram("sh", ["-ec", withCli(command?.text ?? "")], { cwd: place });
    isDone = true;
    await load;
    expect(backup).toMatchObject({ code: 0, stdout: expect.stringMatching(/^keys\.tar\.gz: \d+ bytes\n$/) });
    expect(await modeOf(join(place, "keys.tar.gz"))).toBe(0o600);
    await admin.keys.revokeKey({ keyId: late.id });
    expect(await verdictOf(late.secret)).toBe(Verdict.REVOKED);

    const other = await mkdtemp(join(tmpdir(), "claviger-restored-"));
    await cp(join(place, "keys.tar.gz"), join(other, "keys.tar.gz"));
    await cp(join(place, ".claviger/root-secrets"), join(other, "kept-root-secrets"));
    const [restore] = blocksOf(readPage(REPOSITORY, "docs/operate/backup.md"), "Embedded");
    const commands = restore?.text.replace("./bin/claviger.js serve\n", "") ?? "";
    expect(await runProgram("sh", ["-ec", commands], { cwd: other })).toMatchObject({ code: 0 });
    const restored = await startServer({ cwd: other });
    try {
      const token = (await readFile(join(place, ".claviger/admin-key"), "utf8")).trim();
      admin = connect(restored.url, token);
      const verdicts = await Promise.all(kept.map(({ secret }) => verdictOf(secret)));
      expect(verdicts).toEqual(kept.map((_, index) => (index === 0 ? Verdict.REVOKED : Verdict.VALID)));
      // What the page warns of: until it is revoked again.
      await admin.keys.revokeKey({ keyId: late.id });
      expect(await verdictOf(late.secret)).toBe(Verdict.REVOKED);
      expect(restored.stdout()).not.toContain("admin key:");
    } finally {
      await restored.stop();
      await rm(other, { recursive: true, force: true });
    }
  });

  it("has neither root secrets nor the admin key in it", async () => {
    const { stdout } = await runProgram("tar", ["-tzf", "keys.tar.gz"], { cwd: place });
    expect(stdout).toContain("PG_VERSION");
    expect(stdout).not.toMatch(/root-secrets|admin-key/);
  });

  it("copies the database of a stopped server, and says so as JSON", async () => {
    await server.stop();
    const stopped = await claviger(["backup", "stopped.tar.gz", "--json"]);
    const { size } = await stat(join(place, "stopped.tar.gz"));
    expect(JSON.parse(stopped.stdout)).toEqual({ file: "stopped.tar.gz", bytes: size });
  });

  it("refuses a folder without a database, and makes none", async () => {
    const refused = await claviger(["backup", "x.tar.gz", "--data-dir", "elsewhere"]);
    expect(refused).toMatchObject({ code: 3, stderr: expect.stringContaining("no database in elsewhere") });
    await expect(stat(join(place, "elsewhere"))).rejects.toThrow("ENOENT");
  });

  it("refuses a database of Postgres, and a file that cannot be written", async () => {
    const env = {
      DATABASE_URL: "postgres://127.0.0.1:1/none",
      CLAVIGER_ROOT_SECRETS: Buffer.alloc(32).toString("base64"),
    };
    expect(await claviger(["backup", "x.tar.gz"], env)).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("pg_dump"),
    });
    expect(await claviger(["backup", "no/such/x.tar.gz"])).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("cannot write the backup"),
    });
  });

  describe("that does not come to its end", () => {
    /** A holder of the data folder that sends this and then nothing more, and its socket. */
    async function holdWith(text: string, { ends }: { readonly ends: boolean }) {
      const folder = await mkdtemp(join(tmpdir(), "claviger-holder-"));
      const holder = createServer((socket) => {
        socket.on("error", () => undefined);
        if (ends) socket.end(text);
        else socket.write(text);
      });
      await once(holder.listen(join(folder, "backup")), "listening");
      await writeFile(join(folder, "keys.tar.gz"), "older");
      const remove = async () => {
        holder.close();
        await rm(folder, { recursive: true, force: true });
      };
      return { folder, [Symbol.asyncDispose]: remove };
    }
    const backupInto = (folder: string) => [BIN, "backup", join(folder, "keys.tar.gz"), "--data-dir", folder];

    it("leaves the older file when the server ends in the middle, and no half one", async () => {
      await using holder = await holdWith("1000\nhalf", { ends: true });
      const { code, stderr } = await runProgram(process.execPath, backupInto(holder.folder));
      expect(stderr).toContain("no whole backup");
      expect(code).toBe(3);
      expect(await readFile(join(holder.folder, "keys.tar.gz"), "utf8")).toBe("older");
      await expect(stat(join(holder.folder, "keys.tar.gz.part"))).rejects.toThrow("ENOENT");
    });

    it("leaves the older file when it is killed", async () => {
      await using holder = await holdWith("1000\nhalf", { ends: false });
      const killed = await spawnGuarded({
        command: process.execPath,
        args: backupInto(holder.folder),
        spawn: { env: inheritedEnv() },
      });
      await eventually(() => stat(join(holder.folder, "keys.tar.gz.part")));
      killed.child.kill("SIGKILL");
      await endWithin(killed, 10_000);
      expect(await readFile(join(holder.folder, "keys.tar.gz"), "utf8")).toBe("older");
    });
  });
});

/** The page's commands run in another folder than a clone. */
function withCli(text: string): string {
  return text.replaceAll("./bin/claviger.js", `'${process.execPath}' '${BIN}'`);
}
