import { PassThrough, Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { createFakeShell } from "../../../testkit/fakes/fake-shell.ts";
import { readSecret } from "./read-secret.ts";

function piped(...chunks: (string | Buffer)[]): Promise<string> {
  return readSecret(createFakeShell({ stdin: Readable.from(chunks.map((chunk) => Buffer.from(chunk))) }).shell);
}

function terminal() {
  const stdin = Object.assign(new PassThrough(), { isTTY: true });
  return { stdin, ...createFakeShell({ stdin }) };
}

describe("a piped secret", () => {
  it.each([
    ["abc", "abc"],
    ["abc\n", "abc"],
    ["abc\r\n", "abc"],
    ["abc\n\n", "abc"],
    [" abc\t", "abc"],
    ["\ufeffabc\r\n", "abc"],
    ["abc def", "abc def"],
  ])("%j is read as %j: what is around it is not part of it", async (input, secret) => {
    expect(await piped(input)).toBe(secret);
  });

  it.each(["", "\n", " \r\n", "\ufeff"])("that is nothing but %j is wrong usage, and no verdict", async (input) => {
    await expect(piped(input)).rejects.toMatchObject({ exitCode: 2, message: expect.stringContaining("pipe in") });
  });

  it("is put together from chunks that cut a character", async () => {
    const bytes = Buffer.from("ä");
    expect(await piped(bytes.subarray(0, 1), bytes.subarray(1))).toBe("ä");
  });

  it("of more than 64 KiB is refused without being read to its end", async () => {
    await expect(piped("x".repeat(65_537))).rejects.toThrow("no secret");
  });
});

describe("the prompt", () => {
  it("does not show what is typed", async () => {
    const { stdin, shell, written } = terminal();
    const secret = readSecret(shell);
    stdin.write("hunter2\r");
    expect(await secret).toBe("hunter2");
    expect(written()).toEqual({ out: "", err: "secret (not shown): \n" });
  });

  it("takes nothing for wrong usage", async () => {
    const { stdin, shell } = terminal();
    const secret = readSecret(shell);
    stdin.write("\r");
    await expect(secret).rejects.toMatchObject({ exitCode: 2 });
  });

  it.each([
    ["Ctrl-C", "\u0003"],
    ["Ctrl-D", "\u0004"],
  ])("left by %s gives no secret", async (_, key) => {
    const { stdin, shell } = terminal();
    const secret = readSecret(shell);
    stdin.write(key);
    await expect(secret).rejects.toMatchObject({ exitCode: 130, message: "no secret was given: nothing was done" });
  });
});
