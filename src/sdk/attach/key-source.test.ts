import { spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { eventually } from "../../../testkit/eventually.ts";
import { fromFile, openKeySource } from "./key-source.ts";

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "claviger-source-"));
  path = join(folder, "key");
});
afterEach(() => rm(folder, { recursive: true }));

it("a string is the secret for ever", async () => {
  const key = openKeySource(" s1\n");
  expect((await key.current()).reveal()).toBe("s1");
  expect((await key.reread()).reveal()).toBe("s1");
});

it.each(["", "  ", "s1 s2", "s1\n\ns2", "s1\u0000", "süß"])(
  "%j is rejected at once, and not repeated in the error",
  (text) => {
    expect(() => openKeySource(text)).toThrow(
      new TypeError("the key is not a secret. Pass the secret as it was shown, and nothing else"),
    );
  },
);

it("a function is called each time", async () => {
  let asked = 0;
  const key = openKeySource(async () => `s${++asked}`);
  expect((await key.current()).reveal()).toBe("s1");
  expect((await key.reread()).reveal()).toBe("s2");
});

it("the error of a function is kept as the cause, and not repeated", async () => {
  const cause = new Error("cannot parse clv_live_…");
  const key = openKeySource(() => {
    throw cause;
  });
  const message = "the function that returns the key failed. Log its error and correct it";
  await expect(key.current()).rejects.toMatchObject({ name: "NoSecretError", message, cause });
});

it("a function without a secret causes an error that says what to do and hides the value", async () => {
  const message = "the function that returns the key returned no secret. Return one, and nothing else";
  for (const text of ["", "s1\ns2", undefined as unknown as string]) {
    await expect(openKeySource(() => text).current()).rejects.toMatchObject({ name: "NoSecretError", message });
  }
});

it("a file is read again by itself, in real time", async () => {
  await writeFile(path, "s1");
  const file = fromFile(path, { everyMs: 20 });
  try {
    expect((await file.current()).reveal()).toBe("s1");
    await writeFile(path, "s2");
    await eventually(async () => expect((await file.current()).reveal()).toBe("s2"));
  } finally {
    file.close();
  }
});

it("a file that goes bad while in use causes a warning of the process by default", async () => {
  const emitWarning = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
  try {
    await writeFile(path, "s1");
    const file = fromFile(path);
    await file.current();
    file.close();
    await rm(path);
    await file.reread();
    expect(emitWarning.mock.calls).toEqual([[expect.stringContaining("ENOENT"), "ClavigerWarning"]]);
  } finally {
    emitWarning.mockRestore();
  }
});

it("a file that is read regularly does not keep the process alive", async () => {
  await writeFile(path, "s1");
  const source = new URL("./key-source.ts", import.meta.url).href;
  const program = `
    const { fromFile } = await import(${JSON.stringify(source)});
    console.log((await fromFile(${JSON.stringify(path)}).current()).reveal());
  `;
  const run = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
    encoding: "utf8",
    timeout: 20_000,
  });
  expect(run).toMatchObject({ stdout: "s1\n", status: 0, signal: null });
});
