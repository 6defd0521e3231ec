import fc from "fast-check";
import { expect, it } from "vitest";
import { Keyring } from "./keyring.ts";
import { redactSecrets } from "./redact.ts";
import { deriveRootKeys } from "./root-secret.ts";

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
