import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Keyring } from "./keyring.ts";
import { deriveRootKeys } from "./root-secret.ts";
import { readSecretForm, writeSecretForm } from "./secret-form.ts";

const ring = new Keyring({ roots: [deriveRootKeys(Buffer.alloc(32, 1))], brand: "clv" });
const bodies = fc.uint8Array({ minLength: 32, maxLength: 32 });
const prefixes = fc
  .tuple(fc.stringMatching(/^[a-z]{2,16}$/), fc.constantFrom("live", "test"))
  .map(([brand, environment]) => `${brand}_${environment}_`);

describe("the form of a secret", () => {
  it("is read back as it was written, of any brand, with or without the prefix of RFC 8959", () => {
    fc.assert(
      fc.property(prefixes, bodies, (prefix, body) => {
        const text = writeSecretForm(prefix, body);
        const read = { text, prefix, body: Buffer.from(body) };
        expect([readSecretForm(text), readSecretForm(`secret-token:${text}`)]).toEqual([read, read]);
      }),
    );
  });

  it("never calls a secret malformed that a server made or would look up", () => {
    const presented = fc.oneof(
      bodies.map((body) => writeSecretForm("clv_live_", body)),
      bodies.map((chance) => ring.mint("test", () => chance.subarray(0, 24), []).secret.reveal()),
      fc.string(),
      fc.tuple(bodies, fc.nat(60), fc.string({ maxLength: 2 })).map(([body, at, by]) => {
        const text = writeSecretForm("clv_live_", body);
        return text.slice(0, at) + by + text.slice(at + 1);
      }),
    );
    fc.assert(
      fc.property(presented, (text) => {
        if (readSecretForm(text) === undefined) expect(ring.recognise(text)).toEqual({ kind: "malformed" });
        else expect(ring.recognise(text).kind).not.toBe("malformed");
      }),
    );
  });

  it.each(["", "CLV_live_", "clv_prod_", "c_live_", `${"x".repeat(17)}_live_`, "clv_live_\n"])(
    "is not what begins with %j",
    (prefix) => {
      const text = writeSecretForm("clv_live_", Buffer.alloc(32, 9)).slice("clv_live_".length);
      expect(readSecretForm(prefix + text)).toBeUndefined();
    },
  );
});
