import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ErrorCode, ProviderEvents, type ResolutionDetails } from "@openfeature/server-sdk";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { FlagsFileProvider } from "./flags-file-provider.ts";

const FLAG = "enable-api-key-management";

let folder: string;
let file: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "claviger-flags-"));
  file = join(folder, "flags.json");
});

afterEach(() => rm(folder, { recursive: true }));

/** A provider over `file` whose time passes by `tick`. */
async function open() {
  const works = new Set<() => Promise<void>>();
  const problems: string[] = [];
  const onChange = vi.fn();
  const provider = new FlagsFileProvider({
    file,
    repeat: (work) => {
      works.add(work);
      return { stop: () => works.delete(work) };
    },
    onProblem: (error) => problems.push(error.message),
  });
  provider.events.addHandler(ProviderEvents.ConfigurationChanged, onChange);
  await provider.initialize();
  const tick = async () => {
    for (const work of works) await work();
  };
  const ask = (owner = "u1", flag = FLAG): Promise<ResolutionDetails<boolean>> =>
    provider.resolveBooleanEvaluation(flag, true, { targetingKey: owner });
  return { provider, problems, onChange, tick, ask, works };
}

async function replaceAtomically(text: string): Promise<void> {
  await writeFile(`${file}.new`, text);
  await rename(`${file}.new`, file);
}

it("a flag is as the file says, owner by owner", async () => {
  await writeFile(file, `{"${FLAG}": {"default": "off", "owners": ["u1"]}}`);
  const { ask } = await open();
  expect(await ask("u1")).toEqual({ value: true, variant: "on", reason: "TARGETING_MATCH" });
  expect(await ask("u2")).toEqual({ value: false, variant: "off", reason: "DEFAULT" });
});

it("a flag that the file lacks is not found, whatever the default", async () => {
  await writeFile(file, `{"${FLAG}": "on"}`);
  const { ask, provider } = await open();
  const expected = { code: ErrorCode.FLAG_NOT_FOUND, message: `${file} has no flag other` };
  await expect(ask("u1", "other")).rejects.toMatchObject(expected);
  await expect(provider.resolveStringEvaluation("other")).rejects.toMatchObject(expected);
});

it("a flag is a boolean and nothing else", async () => {
  await writeFile(file, `{"${FLAG}": "on"}`);
  const { provider } = await open();
  for (const asked of [
    () => provider.resolveStringEvaluation(FLAG),
    () => provider.resolveNumberEvaluation(FLAG),
    () => provider.resolveObjectEvaluation(FLAG),
  ]) {
    await expect(asked()).rejects.toMatchObject({ code: ErrorCode.TYPE_MISMATCH });
  }
});

it.each([
  ["{", /flags\.json is not JSON.*Give flags such as/],
  [`{"${FLAG}": {"percent": 101}}`, /flags\.json has a bad rule for enable-api-key-management: percent is/],
])("a bad file, %s, is refused at the start", async (text, message) => {
  await writeFile(file, text);
  await expect(open()).rejects.toThrow(message);
});

it("a missing file is refused at the start", async () => {
  await expect(open()).rejects.toThrow(`${file} cannot be read (ENOENT). Put it there, readable`);
});

it("a file that is replaced by a rename is seen at the next look", async () => {
  await writeFile(file, `{"${FLAG}": "on"}`);
  const { ask, tick, onChange } = await open();
  await replaceAtomically(`{"${FLAG}": "off"}`);
  expect((await ask()).value).toBe(true);
  await tick();
  expect((await ask()).value).toBe(false);
  expect(onChange).toHaveBeenCalledOnce();
});

it("a file that is overwritten in place with one of the same length is seen", async () => {
  await writeFile(file, `{"${FLAG}": true }`);
  const { ask, tick } = await open();
  await writeFile(file, `{"${FLAG}": false}`);
  await tick();
  expect((await ask()).value).toBe(false);
});

it("a folder that is swapped by a symbolic link, as Kubernetes does, is seen", async () => {
  for (const [version, value] of [
    ["v1", "on"],
    ["v2", "off"],
  ] as const) {
    await mkdir(join(folder, version));
    await writeFile(join(folder, version, "flags.json"), `{"${FLAG}": "${value}"}`);
  }
  await symlink("v1", join(folder, "..data"));
  await symlink(join("..data", "flags.json"), file);
  const { ask, tick } = await open();
  expect((await ask()).value).toBe(true);
  await symlink("v2", join(folder, "..data.new"));
  await rename(join(folder, "..data.new"), join(folder, "..data"));
  await tick();
  expect((await ask()).value).toBe(false);
});

it("a file that has not changed changes nothing", async () => {
  await writeFile(file, `{"${FLAG}": "on"}`);
  const { tick, onChange, problems } = await open();
  await replaceAtomically(`{"${FLAG}": "on"}`);
  await tick();
  await tick();
  expect(onChange).not.toHaveBeenCalled();
  expect(problems).toEqual([]);
});

it("a file that goes bad keeps the last good flags, and is reported once per change", async () => {
  await writeFile(file, `{"${FLAG}": {"default": "off", "owners": ["u1"]}}`);
  const { ask, tick, problems, onChange } = await open();
  for (const bad of ["{", "{", "[]"]) {
    await replaceAtomically(bad);
    await tick();
    await tick();
  }
  expect((await ask("u1")).value).toBe(true);
  expect((await ask("u2")).value).toBe(false);
  expect(problems).toEqual([
    expect.stringMatching(/flags\.json is not JSON .*; until then the flags stay as they were$/),
    expect.stringMatching(/flags\.json is not an object of flags\..*; until then the flags stay as they were$/),
  ]);
  expect(onChange).not.toHaveBeenCalled();
});

it("a file that vanishes keeps the last good flags, is reported once, and is read again when it is back", async () => {
  await writeFile(file, `{"${FLAG}": "on"}`);
  const { ask, tick, problems, onChange } = await open();
  await rm(file);
  await tick();
  await tick();
  expect((await ask()).value).toBe(true);
  expect(problems).toEqual([expect.stringContaining(`${file} cannot be read (ENOENT)`)]);
  await writeFile(file, `{"${FLAG}": "off"}`);
  await tick();
  expect((await ask()).value).toBe(false);
  expect(onChange).toHaveBeenCalledOnce();
});

it("a closed provider looks no more", async () => {
  await writeFile(file, `{"${FLAG}": "on"}`);
  const { provider, works } = await open();
  expect(works.size).toBe(1);
  await provider.onClose();
  expect(works.size).toBe(0);
});
