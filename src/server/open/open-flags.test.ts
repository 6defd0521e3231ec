import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { OpenFeature } from "@openfeature/server-sdk";
import { type Logger, pino } from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { StartupError } from "../startup-error.ts";
import { type OpenFlags, openFlags } from "./open-flags.ts";

const ENV_VAR_MODULE = fileURLToPath(new URL("../../../testkit/fixtures/env-var-flags.mjs", import.meta.url));
const CALLER = { kind: "service", owner: "backend" };
const PROVIDER = `{
  metadata: { name: "test" },
  resolveBooleanEvaluation: async (_flag, _default, context) => ({ value: context.targetingKey === "u1" }),
}`;

let folder: string;
let lines: string[];
let log: Logger;
let opened: OpenFlags[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "claviger-open-flags-"));
  lines = [];
  log = pino({ level: "info", base: null }, { write: (line) => void lines.push(line) });
  opened = [];
});

afterEach(async () => {
  vi.useRealTimers();
  vi.unstubAllEnvs();
  for (const flags of opened) await flags.close();
  await rm(folder, { recursive: true });
});

async function open(setting: string | undefined) {
  const flags = await openFlags({ setting, log });
  opened.push(flags);
  return { ...flags, isOn: (owner: string) => flags.flag.isOn(owner, CALLER) };
}

/** A file in the folder, by its path. */
async function put(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
  return path;
}

async function refusal(setting: string): Promise<string> {
  const error: unknown = await open(setting).catch((error: unknown) => error);
  expect(error).toBeInstanceOf(StartupError);
  return error instanceof Error ? error.message : "";
}

it("without the setting it is on for everybody", async () => {
  const { isOn } = await open(undefined);
  expect(await isOn("u1")).toBe(true);
});

it.each(["flags.yaml", "flags", "flags.json5"])("%s is neither flags nor a module", async (name) => {
  expect(await refusal(name)).toBe(
    `CLAVIGER_FLAGS_FILE: ${name} is neither a .json file of flags nor a .js, .mjs, .cjs or .ts module. Give one of them`,
  );
});

describe("a file of flags", () => {
  it("is honoured, and switched without a restart within a second", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    const file = await put("flags.json", '{"enable-api-key-management": {"default": "off", "owners": ["u1"]}}');
    const { isOn } = await open(file);
    expect([await isOn("u1"), await isOn("u2")]).toEqual([true, false]);
    await put("flags.json", '{"enable-api-key-management": "on"}');
    vi.advanceTimersByTime(1000);
    // `vi.waitFor` and `expect.poll` would let more of the faked time pass.
    while (!(await isOn("u2"))) await setImmediate();
    expect(lines).toEqual([expect.stringContaining("feature flags changed")]);
  });

  it("is off, with a warning, while it lacks the flag", async () => {
    const file = await put("flags.json", '{"enable-api-key-managment": "on"}');
    const { isOn } = await open(file);
    expect(await isOn("u1")).toBe(false);
    for (let at = 0; at < 100; at++) expect(await isOn(`u${at}`)).toBe(false);
    expect(lines).toEqual([expect.stringContaining(`${file} has no flag enable-api-key-management (FLAG_NOT_FOUND)`)]);
  });

  it("that is bad or missing stops the start", async () => {
    const file = await put("flags.json", '{"enable-api-key-management": "maybe"}');
    expect(await refusal(file)).toMatch(
      `CLAVIGER_FLAGS_FILE: ${file} has no rule for enable-api-key-management. Give "on", "off" or`,
    );
    const missing = join(folder, "missing.json");
    expect(await refusal(missing)).toBe(
      `CLAVIGER_FLAGS_FILE: ${missing} cannot be read (ENOENT). Put it there, readable`,
    );
  });

  it("is read no more once it is closed, and a start that failed leaves nothing running", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    const { close } = await open(await put("flags.json", "{}"));
    expect(vi.getTimerCount()).toBe(1);
    await close();
    expect(vi.getTimerCount()).toBe(0);
    await refusal(await put("bad.json", "{"));
    expect(vi.getTimerCount()).toBe(0);
  });

  it("belongs to its server alone: two in a process, and the host's own OpenFeature, do not meet", async () => {
    const on = await open(await put("on.json", '{"enable-api-key-management": "on"}'));
    const off = await open(await put("off.json", '{"enable-api-key-management": "off"}'));
    expect([await on.isOn("u1"), await off.isOn("u1")]).toEqual([true, false]);
    await off.close();
    expect([await on.isOn("u1"), await off.isOn("u1")]).toEqual([true, false]);
    expect(OpenFeature.getProvider().metadata.name).toBe("No-op Provider");
  });
});

describe("a provider module", () => {
  it("may export a provider of a third party's package: environment variables switch it", async () => {
    const { isOn } = await open(ENV_VAR_MODULE);
    vi.stubEnv("ENABLE_API_KEY_MANAGEMENT", "true");
    expect(await isOn("u1")).toBe(true);
    vi.stubEnv("ENABLE_API_KEY_MANAGEMENT", "false");
    expect(await isOn("u1")).toBe(false);
    expect(lines).toEqual([]);
    vi.stubEnv("ENABLE_API_KEY_MANAGEMENT", undefined);
    expect(await isOn("u1")).toBe(false);
    expect(lines).toEqual([expect.stringContaining("Unable to find an environment variable")]);
  });

  it.each([
    ["a.mjs", `export default ${PROVIDER}`],
    ["b.mjs", `export default () => (${PROVIDER})`],
    ["c.mjs", `export default async () => (${PROVIDER})`],
    ["d.cjs", `module.exports = ${PROVIDER}`],
    ["e.ts", `const provider: object = ${PROVIDER}; export default provider`],
  ])("may be written as %s", async (name, text) => {
    const { isOn } = await open(await put(name, text));
    expect([await isOn("u1"), await isOn("u2")]).toEqual([true, false]);
  });

  it("may be CommonJS that a compiler made, whose default export is one deeper", async () => {
    // As Node shows it: Vitest undoes the nesting of a real one.
    const { isOn } = await open(await put("compiled.mjs", `export default { default: () => (${PROVIDER}) }`));
    expect([await isOn("u1"), await isOn("u2")]).toEqual([true, false]);
  });

  it("is found by a path that is relative to the working directory", async () => {
    vi.spyOn(process, "cwd").mockReturnValue(folder);
    await put("relative.mjs", `export default ${PROVIDER}`);
    const { isOn } = await open("./relative.mjs");
    expect(await isOn("u1")).toBe(true);
  });

  it.each([
    ["empty.mjs", ""],
    ["number.mjs", "export default 7"],
    ["null.mjs", "export default () => null"],
    ["nameless.mjs", "export default { resolveBooleanEvaluation: async () => ({ value: true }) }"],
    ["mute.mjs", 'export default { metadata: { name: "test" } }'],
    ["browser.mjs", `export default { ...${PROVIDER}, runsOn: "client" }`],
  ])("that makes no provider stops the start: %s", async (name, text) => {
    const path = await put(name, text);
    expect(await refusal(path)).toBe(
      `CLAVIGER_FLAGS_FILE: ${path} does not make an OpenFeature provider for servers. Make one its default export, or a function that returns one`,
    );
  });

  it("that cannot be loaded stops the start", async () => {
    const thrower = await put("thrower.mjs", 'export default () => { throw new Error("no licence") }');
    expect(await refusal(thrower)).toBe(
      `CLAVIGER_FLAGS_FILE: ${thrower} cannot be loaded: no licence. Correct the module or its path`,
    );
    expect(await refusal(join(folder, "missing.mjs"))).toMatch(
      /missing\.mjs cannot be loaded: .*(Cannot find|does not exist|not found).*\. Correct the module or its path/is,
    );
  });

  it("that takes for ever to load stops the start after 5 s", async () => {
    const path = await put("slow.mjs", "export default () => new Promise(() => undefined)");
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const refused = refusal(path);
    await expect.poll(() => vi.getTimerCount()).toBe(1);
    await vi.advanceTimersByTimeAsync(5000);
    expect(await refused).toMatch(/slow\.mjs cannot be loaded: no answer within 5000 ms\. Correct/);
  });

  it("whose provider is down does not stop the start: it is off until the provider is back", async () => {
    const { isOn } = await open(
      await put(
        "down.mjs",
        `let isUp = false;
         export default {
           metadata: { name: "test" },
           initialize: () => Promise.reject(new Error("backend unreachable")),
           resolveBooleanEvaluation: async () => { if (!isUp) { isUp = true; throw new Error("still down"); } return { value: true }; },
         }`,
      ),
    );
    expect(await isOn("u1")).toBe(false);
    expect(lines).toEqual([expect.stringContaining("did not start"), expect.stringContaining("still down")]);
    expect(await isOn("u1")).toBe(true);
  });

  it("whose provider takes for ever to start holds the start up for 5 s, and is off", async () => {
    const path = await put(
      "starting.mjs",
      `export default { ...${PROVIDER}, initialize: () => { globalThis.flagProviderStarts = true; return new Promise(() => undefined); } }`,
    );
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const opening = open(path);
    await expect.poll(() => Reflect.get(globalThis, "flagProviderStarts")).toBe(true);
    await vi.advanceTimersByTimeAsync(5000);
    const { isOn } = await opening;
    expect(lines).toEqual([expect.stringContaining("did not start")]);
    expect(await isOn("u1")).toBe(false);
    expect(lines[1]).toContain("PROVIDER_NOT_READY");
  });

  it("has its provider closed, and one that fails to close does not stop the end", async () => {
    const { close } = await open(
      await put(
        "closing.mjs",
        `export default { ...${PROVIDER}, onClose: () => { globalThis.flagProviderClosed = true; throw new Error("no"); } }`,
      ),
    );
    await close();
    expect(Reflect.get(globalThis, "flagProviderClosed")).toBe(true);
    expect(lines).toEqual([expect.stringContaining("the flag provider did not close")]);
  });
});
