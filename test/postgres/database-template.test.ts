import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { openPglite } from "../../src/postgres/connect/pglite-connection.ts";
import { disown } from "../../src/postgres/migrate/migrate-embedded.ts";
import { readClusterId } from "../../src/postgres/revisions.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { openStorage } from "../../src/server/open/open-storage.ts";

let parent: string;
let template: string;

beforeAll(async () => {
  parent = await mkdtemp(join(tmpdir(), "claviger-template-"));
  template = join(parent, "template");
  await cp(inject("embedded").template, template, { recursive: true });
  const connection = await openPglite(template);
  await disown(connection.database);
  await connection.close();
});
afterAll(() => rm(parent, { recursive: true, force: true }));

async function clusterOf(folder: string): Promise<string> {
  const opened = await openStorage(await loadConfig({ CLAVIGER_DATA_DIR: folder }));
  try {
    return await opened.storage.read(readClusterId);
  } finally {
    await opened.close();
  }
}

it("copies of one template are clusters of their own, and stay what they are", async () => {
  const folders = ["one", "two"].map((name) => join(parent, name));
  for (const folder of folders) await cp(template, join(folder, "database"), { recursive: true });
  const ids: string[] = [];
  for (const folder of folders) ids.push(await clusterOf(folder));
  expect(new Set([...ids, "template"]).size).toBe(3);
  expect(await clusterOf(folders[0] ?? "")).toBe(ids[0]);
});
