import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { runInFakeShell } from "../../../testkit/fakes/fake-shell.ts";

const ROOT_SECRET = Buffer.alloc(32, 7).toString("base64");
const PASSWORD = "hunter2-hunter2";
const POLICY = '{"manage": {"keysPerOwner": 20}}';

let folder: string;
let policyFile: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "claviger-config-"));
  policyFile = join(folder, "policy.json");
  await writeFile(policyFile, POLICY);
  await writeFile(join(folder, "roots"), ROOT_SECRET);
});
afterAll(() => rm(folder, { recursive: true }));

it("each setting is printed with its source, and no secret", async () => {
  const environment = {
    DATABASE_URL: `postgres://claviger:${PASSWORD}@db.example.com/keys`,
    CLAVIGER_ROOT_SECRETS_FILE: join(folder, "roots"),
    CLAVIGER_LOG_LEVEL: "warn",
    CLAVIGER_LEASE_MS: "2000",
  };
  const words = ["config", "--lease-ms", "4000", "--policy", `@${policyFile}`, "--json"];
  const { code, out, err } = await runInFakeShell(words, { environment });
  expect([code, err]).toEqual([0, ""]);
  const { settings } = JSON.parse(out) as { settings: { setting: string; value: string; source: string }[] };
  const shown = Object.fromEntries(settings.map(({ setting, value, source }) => [setting, [value, source]]));
  expect(shown).toMatchObject({
    DATABASE_URL: ["[redacted]", "environment"],
    CLAVIGER_ROOT_SECRETS: ["[redacted]", `file ${join(folder, "roots")}`],
    CLAVIGER_LOG_LEVEL: ["warn", "environment"],
    CLAVIGER_LEASE_MS: ["4000", "flag --lease-ms"],
    CLAVIGER_POLICY: [`@${policyFile}`, `file ${policyFile}`],
    CLAVIGER_LISTEN: ["127.0.0.1:4640", "default"],
  });
  expect(out).not.toContain(PASSWORD);
  expect(out).not.toContain(ROOT_SECRET);
});

it("people get a table", async () => {
  const { out } = await runInFakeShell(["config"], { environment: { CLAVIGER_LOG_FORMAT: "json" } });
  expect(out).toMatch(/^SETTING +VALUE +SOURCE$/m);
  expect(out).toMatch(/^CLAVIGER_LOG_FORMAT +json +environment$/m);
});

it.each([
  [["--listen", "banana"], "--listen is"],
  [["--policy", "@no-such-file.json"], "--policy names no-such-file.json, which cannot be read (ENOENT)"],
])("a wrong setting, such as %j, ends it with 2", async (flags, said) => {
  const { code, err, out } = await runInFakeShell(["config", ...flags]);
  expect([code, out]).toEqual([2, ""]);
  expect(err.replace(/\s+/g, " ")).toContain(said);
});
