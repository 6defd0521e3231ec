import { Console } from "node:console";
import { Writable } from "node:stream";
import { format, inspect } from "node:util";
import fc from "fast-check";
import { pino } from "pino";
import { expect, it } from "vitest";
import { Keyring } from "./keyring.ts";
import { deriveRootKeys } from "./root-secret.ts";
import { redactSecrets, Secret } from "./secret.ts";

const TEXT = "clv_live_thisMustNeverBeSeen";
const secret = new Secret(TEXT);

/** What JavaScript does for `left + right`, which the compiler refuses to do with a Secret. */
function plus(left: unknown, right: unknown): string {
  return (left as string) + (right as string);
}

/** Everything that `use` writes to a stream. */
function written(use: (stream: Writable) => void): string {
  let text = "";
  use(
    new Writable({
      write(chunk, _, done) {
        text += String(chunk);
        done();
      },
    }),
  );
  return text;
}

it("is itself only by reveal()", () => {
  fc.assert(fc.property(fc.string(), (text) => new Secret(text).reveal() === text));
});

it.each<[string, () => string]>([
  ["String()", () => String(secret)],
  ["toString()", () => secret.toString()],
  ["a template", () => `${secret}`],
  ["+", () => "".concat(secret as unknown as string) + plus("", secret) + plus(secret, "")],
  ["join", () => [secret].join()],
  ["JSON", () => JSON.stringify({ secret, list: [secret] })],
  ["inspect", () => inspect(secret)],
  ["inspect with hidden properties", () => inspect({ secret }, { showHidden: true, depth: null, customInspect: true })],
  ["inspect without custom inspectors", () => inspect(secret, { showHidden: true, customInspect: false })],
  ["format %s %o %O %j", () => format("%s %o %O %j", secret, secret, secret, secret)],
  ["an error", () => inspect(new Error(`wrong: ${secret}`, { cause: secret }))],
  ["property names and values", () => JSON.stringify([Object.entries(secret), Reflect.ownKeys(secret).map(String)])],
  ["structured clone", () => inspect(structuredClone({ ...secret }))],
  ["console", () => written((stream) => new Console(stream).log("%s", secret, { secret }, [secret]))],
  ["pino", () => written((stream) => pino({}, stream).info({ secret, nested: { secret } }, "note %s", secret))],
])("is not shown by %s", (_, show) => {
  expect(show()).not.toContain("thisMustNeverBeSeen");
});

it("says that something is left out", () => {
  expect(`${secret} ${JSON.stringify(secret)} ${inspect(secret)}`).toBe('[redacted] "[redacted]" [redacted]');
});

const roots = [deriveRootKeys(Buffer.alloc(32))] as const;

it("a secret of any brand and environment is cut out of whatever stands around it", () => {
  const brands = fc.constantFrom("clv", "acme");
  const around = fc.string();
  const chances = fc.uint8Array({ minLength: 24, maxLength: 24 });
  const environments = fc.constantFrom("live", "test");
  fc.assert(
    fc.property(brands, environments, chances, around, (brand, environment, chance, text) => {
      const minted = new Keyring({ roots: [...roots], brand }).mint(environment, () => chance, []);
      const secret = minted.secret.reveal();
      const shown = redactSecrets(`${text}${secret}${text} secret-token:${secret}`);
      expect(shown).not.toContain(secret.slice(-49));
      expect(shown).not.toContain(secret.slice(-49, -20));
      expect(shown).toContain(`${brand}_${environment}_[redacted]`);
    }),
  );
});

it("a secret that was cut short in pasting is cut out too", () => {
  expect(redactSecrets("see clv_live_0123456789abcdefghijABCDEFGHIJ!")).toBe("see clv_live_[redacted]!");
});

it("other text stays as it is", () => {
  for (const text of [
    "",
    "github.com/a/b/blob/main/.env#L3",
    "clv_live_…",
    "is_test_run",
    "key_01h455vb4pex5vsknk084sn02q",
  ]) {
    expect(redactSecrets(text)).toBe(text);
  }
});
