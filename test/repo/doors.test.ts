import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const ELSEWHERE = "src/manage/anything.ts";

const ENVIRONMENT = "The environment has one door";
const TIME = "Time has one door";
const CHANCE = "Chance has one door";
const EXIT = "Exit has one door";
const WHERE = "drop a condition";
const LISTENER = "is not heard";
const NAME = "under its own name";

const REFUSED: [message: string, code: string][] = [
  [ENVIRONMENT, "export const x = process.env.HOME;"],
  [TIME, "export const x = Date.now();"],
  [TIME, "export const x = new Date();"],
  [TIME, "export const x = performance.now();"],
  [TIME, "export const x = [1].map(Date.now);"],
  [CHANCE, "export const x = Math.random();"],
  [CHANCE, "export const x = crypto.randomUUID();"],
  [CHANCE, "export const x = crypto.getRandomValues(new Uint8Array(1));"],
  [CHANCE, 'import { createHash, randomBytes } from "node:crypto";\nexport const x = [createHash, randomBytes];'],
  [CHANCE, 'import { randomInt as y } from "node:crypto";\nexport const x = y;'],
  [EXIT, "process.exit(1);"],
  [NAME, 'import { env } from "node:process";\nexport const x = env;'],
  [NAME, 'import other from "node:process";\nexport const x = other;'],
  [LISTENER, 'export const x = emitter.on("end", async () => await f());'],
  [LISTENER, 'emitter.once("end", async function end() {});'],
  [LISTENER, "setInterval(async () => { await f(); }, 10);"],
  [LISTENER, "setTimeout(async () => await f(), ms);"],
  [WHERE, "export const x = db.select().where(eq(a, 1) && eq(b, 2)).limit(1);"],
  [WHERE, "export const x = db.delete(t).where(and(eq(a, 1), c || eq(b, 2)));"],
];

const ALLOWED: [file: string, code: string][] = [
  [ELSEWHERE, "export const x = new Date(12);"],
  [ELSEWHERE, "process.exitCode = 1;"],
  [ELSEWHERE, 'emitter.on("end", () => void f());'],
  [ELSEWHERE, "export const x = a && b ? db.select().where(and(eq(a, 1), eq(b, 2))) : undefined;"],
  [ELSEWHERE, 'import { createHash } from "node:crypto";\nexport const x = createHash("sha256");'],
  [ELSEWHERE, 'import process from "node:process";\nexport const x = process.argv;'],
  ["src/server/config/config.ts", "export const x = process.env.HOME;"],
  ["src/system/node.ts", 'import { randomBytes } from "node:crypto";\nexport const x = randomBytes;'],
  ["src/cli/main.ts", "process.exit(1);"],
];

describe("the lint", () => {
  let folder: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "claviger-doors-"));
    cpSync(join(ROOT, "biome-plugins"), join(folder, "biome-plugins"), { recursive: true });
    const config = JSON.parse(readFileSync(join(ROOT, "biome.json"), "utf8"));
    const { $schema: _, vcs: __, ...rest } = config;
    writeFileSync(join(folder, "biome.json"), JSON.stringify(rest));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** What the plugins say of `code` as if it were all of `file`. */
  function lint(file: string, code: string): string[] {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), code);
    const biome = join(ROOT, "node_modules/.bin/biome");
    const { stdout } = spawnSync(biome, ["lint", "--reporter=json", file], { cwd: folder, encoding: "utf8" });
    const report: { diagnostics: { category: string; message: string }[] } = JSON.parse(stdout);
    return report.diagnostics.filter(({ category }) => category === "plugin").map(({ message }) => message);
  }

  test.each(REFUSED)("says %j of %j", (message, code) => {
    expect(lint(ELSEWHERE, code)).toEqual([expect.stringContaining(message)]);
  });

  test.each(ALLOWED)("in %s, says nothing of %j", (file, code) => {
    expect(file === ELSEWHERE || existsSync(join(ROOT, file)), `${file} is a door and exists`).toBe(true);
    expect(lint(file, code)).toEqual([]);
  });
});
