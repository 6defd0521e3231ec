import { spawnSync } from "node:child_process";
import { chmod, chown, cp, mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { startServer } from "../../testkit/server-process.ts";

/** Windows has no modes. */
const describeWithModes = process.platform === "win32" ? describe.skip : describe;

describeWithModes("the data folder of the embedded database", () => {
  let parent: string;
  let folder: string;

  beforeEach(async () => {
    parent = await mkdtemp(join(tmpdir(), "claviger-modes-"));
    await chmod(parent, 0o755);
    folder = join(parent, "data");
  });
  afterEach(() => rm(parent, { recursive: true, force: true }));

  /** What is there that the group or others may use, with its mode. */
  async function openToOthers(): Promise<string[]> {
    const names = ["", ...(await readdir(folder, { recursive: true }))];
    const modes = await Promise.all(names.map(async (name) => [name, (await stat(join(folder, name))).mode] as const));
    return modes.filter(([, mode]) => (mode & 0o077) !== 0).map(([name, mode]) => `${name} ${mode.toString(8)}`);
  }

  async function serveOnce(mutate: Parameters<typeof startServer>[0] = {}): Promise<void> {
    const server = await startServer({ ...mutate, env: { CLAVIGER_DATA_DIR: folder, CLAVIGER_LOG_LEVEL: "silent" } });
    await server.stop();
  }

  it("is its owner's alone, with every file, when another user made it and others could enter it", async () => {
    await mkdir(folder);
    await chmod(folder, 0o777);
    await serveOnce();
    expect((await readdir(join(folder, "database", "base"))).length).toBeGreaterThan(1);
    expect(await openToOthers()).toEqual([]);
  });

  it("control: of PGlite's own accord its files are everybody's", async () => {
    const find = "await makePrivate(folder.databaseFolder);";
    await serveOnce({ mutate: [{ file: "src/server/open/open-storage.ts", find, replace: "" }] });
    expect((await openToOthers()).length).toBeGreaterThan(100);
  });

  it("is ignored by Git with every file when a start made it inside a repository", async () => {
    const git = (...words: string[]) => spawnSync("git", words, { cwd: parent, encoding: "utf8" }).stdout;
    git("init");
    await writeFile(join(parent, "seen"), "");
    await serveOnce();
    expect((await readdir(folder)).length).toBeGreaterThan(3);
    expect(git("status", "--porcelain", "--untracked-files=all")).toBe("?? seen\n");
  });

  it("is mended with its files when an older version has left them open", async () => {
    await mkdir(folder);
    await cp(inject("embedded").template, join(folder, "database"), { recursive: true });
    await writeFile(join(folder, "root-secrets"), `${Buffer.alloc(32).toString("base64")}\n`);
    for (const name of ["", ...(await readdir(folder, { recursive: true }))]) {
      const path = join(folder, name);
      await chmod(path, (await stat(path)).isDirectory() ? 0o777 : 0o666);
    }
    await serveOnce();
    expect(await openToOthers()).toEqual([]);
  });

  it("is refused, and left as it is, where others can enter it and it holds what is not Claviger's", async () => {
    for (const [mode, can] of [
      [0o755, "enter"],
      [0o777, "write to"],
    ] as const) {
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, "holiday.jpg"), "");
      await chmod(folder, mode);
      const refused = serveOnce();
      await expect(refused).rejects.toThrow(/ended with code 3/);
      await expect(refused).rejects.toThrow(`other users can ${can} the data folder ${folder}`);
      await expect(refused).rejects.toThrow("holds holiday.jpg");
      expect((await stat(folder)).mode & 0o777).toBe(mode);
      expect(await readdir(folder)).toEqual(["holiday.jpg"]);
    }
  });

  // Others cannot even enter such a folder.
  it.runIf(process.geteuid?.() === 0)("is refused where it belongs to another user, who can write to it", async () => {
    await mkdir(folder, { mode: 0o700 });
    await chown(folder, 12_345, 12_345);
    const refused = serveOnce();
    await expect(refused).rejects.toThrow(/ended with code 3/);
    await expect(refused).rejects.toThrow(`the data folder ${folder} belongs to another user (uid 12345)`);
    expect(await readdir(folder)).toEqual([]);
  });
});
