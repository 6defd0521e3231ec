import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { startServer } from "../../testkit/server-process.ts";
import { makeReadOnly, mountSmall, unmount } from "../../testkit/small-disk.ts";

/** Starts a server that must refuse; what it ended with. */
async function refusalOfStart(folder: string): Promise<string> {
  const started = startServer({ env: { CLAVIGER_DATA_DIR: folder, CLAVIGER_LOG_LEVEL: "silent" } });
  return started.then(
    async (server) => {
      await server.stop();
      return "it started";
    },
    (error: unknown) => String(error),
  );
}

async function fillFolder(folder: string): Promise<void> {
  await mkdir(folder, { mode: 0o700 });
  await cp(inject("embedded").template, join(folder, "database"), { recursive: true });
}

const NO_STACK = /a defect|\n\s+at |wasm/;

describe("a data folder that is damaged", () => {
  let parent: string;

  beforeEach(async () => {
    parent = await mkdtemp(join(tmpdir(), "claviger-broken-"));
  });
  afterEach(() => rm(parent, { recursive: true, force: true }));

  it.each(["global/pg_control", "PG_VERSION"])("stops the start with what to do (%s)", async (file) => {
    const folder = join(parent, "data");
    await fillFolder(folder);
    await writeFile(join(folder, "database", file), "broken");
    const refusal = await refusalOfStart(folder);
    expect(refusal).toContain("ended with code 3");
    expect(refusal).toMatch(/cannot be opened: its files are damaged. Restore the folder from a backup/);
    expect(refusal).not.toMatch(NO_STACK);
  });
});

const small = mountSmall(64);
const place = small === undefined ? "a disk (not run: it needs root, to mount a small one)" : "a disk";

describe.skipIf(small === undefined)(place, () => {
  const disk = small ?? "";
  const folder = join(disk, "data");

  afterEach(async () => {
    if (disk !== "" && (await readdir(disk)).includes("read-only")) unmount(disk);
  });

  it("that is full stops the start with what to do, and works once there is space again", async () => {
    await fillFolder(folder);
    const filler = join(disk, "filler");
    await writeFile(filler, Buffer.alloc(64 * 1024 * 1024)).catch(() => undefined);
    const refusal = await refusalOfStart(folder);
    expect(refusal).toContain("ended with code 3");
    expect(refusal).toContain(`the disk of the data folder ${folder} is full. Free space and start again`);
    expect(refusal).not.toMatch(NO_STACK);
    await rm(filler);
    expect(await refusalOfStart(folder)).toBe("it started");
  });

  it("that is read-only stops the start with what to do", async () => {
    await writeFile(join(disk, "read-only"), "");
    makeReadOnly(disk);
    const refusal = await refusalOfStart(folder);
    expect(refusal).toContain("ended with code 3");
    expect(refusal).toContain(`the data folder ${folder} is read-only. Mount it for writing`);
    expect(refusal).not.toMatch(NO_STACK);
  });
});
