import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterEach, beforeEach, expect, it } from "vitest";
import { eventually } from "../../../testkit/eventually.ts";
import { FakeClocks } from "../../../testkit/fakes/fake-clocks.ts";
import { NoSecretError, WatchedFile } from "./watched-file.ts";

const EVERY_MS = 1000;

let folder: string;
let path: string;
let clocks: FakeClocks;
let problems: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "claviger-watched-"));
  path = join(folder, "key");
  clocks = new FakeClocks();
  problems = [];
});

afterEach(() => rm(folder, { recursive: true }));

/** @param pause what happens between two readings; by default nothing, at once */
function open(pause: (ms: number) => Promise<unknown> = async () => undefined): WatchedFile {
  const onProblem = (error: Error) => problems.push(error.message);
  return new WatchedFile({ path, everyMs: EVERY_MS, timers: clocks, pause, onProblem });
}

async function secretIn(file: WatchedFile): Promise<string> {
  return (await file.current()).reveal();
}

async function replaceByRename(text: string): Promise<void> {
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}

/** Time passes until the file has that secret, without a call that asks for a new look. */
async function expectSoon(file: WatchedFile, secret: string): Promise<void> {
  await eventually(async () => {
    await clocks.pass(EVERY_MS);
    expect(await secretIn(file)).toBe(secret);
  });
}

it("the secret is the one line of the file, without white space around it", async () => {
  await writeFile(path, "\n  s1\t\r\n");
  expect(await secretIn(open())).toBe("s1");
});

it("between two reads, the secret is that of the last read", async () => {
  await writeFile(path, "s1");
  const file = open();
  expect(await secretIn(file)).toBe("s1");
  await replaceByRename("s2");
  await clocks.pass(EVERY_MS - 1);
  expect(await secretIn(file)).toBe("s1");
});

it("a new read takes the present secret, at once and for good", async () => {
  await writeFile(path, "s1");
  const file = open();
  expect(await secretIn(file)).toBe("s1");
  await replaceByRename("s2");
  expect((await file.reread()).reveal()).toBe("s2");
  expect(await secretIn(file)).toBe("s2");
});

it("every change is noticed: a rename, a write in place, a removal and a new file", async () => {
  await writeFile(path, "s1");
  const file = open();
  expect(await secretIn(file)).toBe("s1");
  await replaceByRename("s2");
  await expectSoon(file, "s2");
  await writeFile(path, "s3");
  await expectSoon(file, "s3");
  await rm(path);
  await expectSoon(file, "s3");
  await writeFile(path, "s4");
  await expectSoon(file, "s4");
  await rm(folder, { recursive: true });
  await mkdir(folder);
  await writeFile(path, "s5");
  await expectSoon(file, "s5");
});

it("a change by Kubernetes is noticed, which replaces the folder behind a link", async () => {
  const publish = async (version: string, text: string) => {
    await mkdir(join(folder, version));
    await writeFile(join(folder, version, "key"), text);
    await symlink(version, join(folder, "..data.new"));
    await rename(join(folder, "..data.new"), join(folder, "..data"));
  };
  await publish("..v1", "s1");
  await symlink(join("..data", "key"), path);
  const file = open();
  expect(await secretIn(file)).toBe("s1");
  await publish("..v2", "s2");
  await rm(join(folder, "..v1"), { recursive: true });
  await expectSoon(file, "s2");
});

it("a file that is written in place is never read half-written", async () => {
  await writeFile(path, "s1-whole");
  let step = 0;
  const steps = ["", "s2-wh", "s2-whole", "s2-whole"];
  const file = open(async () => writeFile(path, steps[++step] ?? "s2-whole"));
  await file.current();
  step = 0;
  await writeFile(path, "");
  expect((await file.reread()).reveal()).toBe("s2-whole");
  expect(problems).toEqual([]);
});

it("a file that stays half-written for long is corrected by the next read", async () => {
  await writeFile(path, "s2-ha");
  const file = open();
  expect(await secretIn(file)).toBe("s2-ha");
  await writeFile(path, "s2-half");
  expect((await file.reread()).reveal()).toBe("s2-half");
});

it("a late read does not undo a newer one", async () => {
  await writeFile(path, "s1");
  const gates: PromiseWithResolvers<void>[] = [];
  let isSlow = false;
  const file = open(async () => {
    if (!isSlow) return;
    const gate = Promise.withResolvers<void>();
    gates.push(gate);
    await gate.promise;
  });
  await file.current();
  isSlow = true;
  await replaceByRename("s2");
  const late = file.reread();
  await eventually(() => expect(gates).toHaveLength(1));
  isSlow = false;
  await replaceByRename("s3");
  expect((await file.reread()).reveal()).toBe("s3");
  await replaceByRename("s2");
  gates[0]?.resolve();
  expect((await late).reveal()).toBe("s3");
  expect(await secretIn(file)).toBe("s3");
});

const BAD: [what: string, text: string | undefined, message: string][] = [
  ["missing", undefined, "cannot be read (ENOENT). Put the secret there, readable by this process"],
  ["empty", " \n", "is empty. Put the secret there, on one line"],
  ["two lines", "not-for-you\ns2", "does not hold a secret. Put the secret there, on one line, and nothing else"],
  [
    "a control character",
    "not-for-you\u0007",
    "does not hold a secret. Put the secret there, on one line, and nothing else",
  ],
];

it.each(BAD)("a file that never held a secret causes an error that says what to do: %s", async (_, text, message) => {
  if (text !== undefined) await writeFile(path, text);
  const error = await open()
    .current()
    .catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(NoSecretError);
  expect(error).toMatchObject({ message: `the key file ${path} ${message}` });
  expect(problems).toEqual([`the key file ${path} ${message}. Until then no call can be made with it`]);
  expect(inspect(error, { depth: 9 })).not.toContain("not-for-you");
});

it("a folder in place of the file causes an error that says what to do", async () => {
  await mkdir(path);
  await expect(open().current()).rejects.toThrow(/cannot be read \(EISDIR\)\. Put the secret there/);
});

it("a missing file is used as soon as it is there", async () => {
  const file = open();
  await expect(file.current()).rejects.toThrow("ENOENT");
  await writeFile(path, "s1");
  expect(await secretIn(file)).toBe("s1");
});

it.each(BAD)(
  "a file that goes bad while in use leaves the last secret in use, and that is told once: %s",
  async (_, text, message) => {
    await writeFile(path, "s0");
    const file = open();
    await file.current();
    if (text === undefined) await rm(path);
    else await writeFile(path, text);
    for (let look = 0; look < 3; look++) expect((await file.reread()).reveal()).toBe("s0");
    expect(problems).toEqual([`the key file ${path} ${message}. Until then the last secret stays in use`]);
    await writeFile(path, "s9");
    expect((await file.reread()).reveal()).toBe("s9");
    expect(problems).toHaveLength(1);
  },
);

it("a closed file is read only on request", async () => {
  await writeFile(path, "s1");
  const file = open();
  await file.current();
  file.close();
  file.close();
  await replaceByRename("s2");
  await clocks.pass(10 * EVERY_MS);
  expect(await secretIn(file)).toBe("s1");
  expect((await file.reread()).reveal()).toBe("s2");
  await clocks.pass(10 * EVERY_MS);
  expect(await secretIn(file)).toBe("s2");
});

it("no way of printing shows the secret", async () => {
  await writeFile(path, "s1-very-secret");
  const file = open();
  const secret = await file.current();
  const printed = [inspect(file, { depth: 9, showHidden: true }), JSON.stringify(file), `${secret}`, inspect(secret)];
  expect(printed.join()).not.toContain("s1-very-secret");
});
