import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { serveBackups } from "./serve-backups.ts";

/** Windows has no sockets in folders. */
describe.skipIf(process.platform === "win32")("the socket for backups", () => {
  let folder: string;
  let lines: { readonly level: number; readonly msg: string }[];
  const log = pino({ level: "info" }, { write: (line: string) => void lines.push(JSON.parse(line)) });

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "claviger-socket-"));
    lines = [];
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const dump = async () => new Blob(["archive"]);
  const warnings = () => lines.filter(({ level }) => level >= 40).map(({ msg }) => msg);

  it("takes the place of one that a killed server left, and is its owner's alone", async () => {
    const path = join(folder, "backup");
    writeFileSync(path, "");
    const backups = await serveBackups({ path, dump, log });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(await text(connect(path))).toBe("7\narchive");
    backups.close();
    expect(warnings()).toEqual([]);
  });

  it("answers one client at a time, and hangs up on another", async () => {
    const path = join(folder, "backup");
    const held = Promise.withResolvers<Blob>();
    const backups = await serveBackups({ path, dump: () => held.promise, log });
    const first = text(connect(path));
    expect(await text(connect(path))).toBe("");
    held.resolve(await dump());
    expect(await first).toBe("7\narchive");
    backups.close();
  });

  it("hangs up and says so in the log when the database cannot be copied", async () => {
    const path = join(folder, "backup");
    const backups = await serveBackups({ path, dump: () => Promise.reject(new Error("disk")), log });
    expect(await text(connect(path))).toBe("");
    backups.close();
    expect(warnings()).toEqual(["a backup was not finished"]);
  });

  it("does not stop a start where it cannot be made", async () => {
    const path = join(folder, "x".repeat(120));
    const backups = await serveBackups({ path, dump, log });
    expect(warnings()).toEqual([`no backup can be made, since ${path} cannot be used`]);
    backups.close();
  });
});
