import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { applyMutation, type Mutation, mutate } from "./mutation.ts";

const FILE = "testkit/services.ts";
const PRINT = `console.log((await import("./${FILE}")).INSTALL_HINT.redis)`;

async function run(env: Record<string, string>): Promise<string> {
  const ran = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", PRINT], {
    env: { PATH: process.env.PATH, ...env },
  });
  return ran.stdout.trim();
}

describe("a mutation", () => {
  const mutation: Mutation = { file: FILE, find: "install Redis (", replace: "mutated (" };

  test("changes the source that a process loads, and leaves the file alone", async () => {
    expect(await run(mutate(mutation))).toMatch(/^mutated \(/);
    expect(await run({})).toMatch(/^install Redis \(/);
  });

  test("is refused when its text does not occur exactly once", () => {
    expect(() => mutate({ ...mutation, find: "no such text" })).toThrow('contains "no such text" never');
    expect(() => mutate({ ...mutation, find: "install" })).toThrow('contains "install" more than once');
    expect(() => mutate({ ...mutation, find: "" })).toThrow("exactly once");
    expect(() => applyMutation({ ...mutation, find: "aa" }, "aaa")).toThrow("more than once");
  });

  test("stops the process when the file that is loaded no longer has its text", async () => {
    const env = mutate(mutation);
    const stale = env.CLAVIGER_TEST_MUTATIONS.replace("install Redis (", "once upon a time");
    await expect(run({ ...env, CLAVIGER_TEST_MUTATIONS: stale })).rejects.toThrow('contains "once upon a time" never');
  });
});
