import { createPublicKey } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeJwt, decodeProtectedHeader } from "jose";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { connect } from "../../testkit/connect.ts";
import { eventually } from "../../testkit/eventually.ts";
import { forgeToken } from "../../testkit/forge-token.ts";
import { type IssueOptions, type OidcIssuer, startOidcIssuer } from "../../testkit/oidc-issuer.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { type ServerProcess, startServer } from "../../testkit/server-process.ts";

/** Keys are loaded as soon as a token has an unknown one: the process has no clock to move on by the 30 s. */
const NO_COOLDOWN = { file: "src/access/jwt-issuers.ts", find: "cooldownMs: 30_000,", replace: "cooldownMs: 0," };
const INVALID = { code: "Unauthenticated", reason: "CREDENTIAL_INVALID", domain: "claviger", hasRetryInfo: false };
const UNDECIDED = { code: "Unavailable", reason: "ISSUER_UNAVAILABLE", domain: "claviger", hasRetryInfo: true };

describe("a server with users of a real issuer", () => {
  let folder: string;
  let issuer: OidcIssuer;
  let server: ServerProcess;
  /** Every token that was sent. */
  const sent: string[] = [];

  const start = (name: string) =>
    startServer({
      env: {
        CLAVIGER_DATA_DIR: join(folder, name),
        CLAVIGER_LOG_LEVEL: "trace",
        CLAVIGER_JWT_ISSUERS: JSON.stringify([
          { issuer: issuer.url, audience: "claviger", algorithms: ["RS256"], owner_prefix: "acme:" },
        ]),
      },
      mutate: [NO_COOLDOWN],
    });

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "claviger-issuer-"));
    issuer = await startOidcIssuer();
    server = await start("shared");
  });
  afterAll(async () => {
    await Promise.all([server?.stop(), issuer?.stop()]);
    await rm(folder, { recursive: true, force: true });
  });
  beforeEach(() => issuer.setAway({ isAway: false }));

  const keysAs = (token: string, { url } = server) => {
    sent.push(token);
    return connect(url, token).keys;
  };
  const issue = (options?: IssueOptions) => issuer.issue("ada", options);
  /** The owner of whom the server takes the caller for. */
  const ownerOf = async (token: string, at = server) =>
    (await keysAs(token, at).createKey({ displayName: "k" })).key?.owner;
  const refusal = (token: string, at = server) => refusalOf(keysAs(token, at).listKeys({}));
  const accepted = async (token: string) => void (await keysAs(token).listKeys({}));

  it("knows them by its tokens", async () => {
    expect(await ownerOf(await issue())).toBe("acme:ada");
  });

  it("follows the issuer to new keys without a restart, and leaves those that it withdrew", async () => {
    const old = await issue();
    await accepted(old);
    await issuer.rotateKeys({ keepOld: true });
    const current = await issue();
    expect(decodeProtectedHeader(current).kid).not.toBe(decodeProtectedHeader(old).kid);
    await accepted(current);
    await accepted(old);
    await issuer.rotateKeys({ keepOld: false });
    await accepted(await issue());
    for (const withdrawn of [old, current]) {
      expect(await refusal(withdrawn)).toMatchObject({ ...INVALID, metadata: { cause: "key_unknown" } });
    }
  });

  it("goes on with the keys that it has while the issuer is away, and calls no token bad that it cannot check", async () => {
    const [seen, unseen] = [await issue(), await issue({ claims: { jti: "unseen" } })];
    await accepted(seen);
    await issuer.setAway({ isAway: true });
    await accepted(seen);
    await accepted(unseen);
    await issuer.rotateKeys({ keepOld: true });
    const ofNewKey = await issue();
    expect(await refusal(ofNewKey)).toMatchObject({ ...UNDECIDED, metadata: { issuer: issuer.url } });
    await accepted(seen);
    const expired = await issue({ claims: { exp: Math.floor(Date.now() / 1000) - 60 }, header: { kid: kidOf(seen) } });
    expect(await refusal(expired), "an old key's name does not help").toMatchObject(INVALID);
    await issuer.setAway({ isAway: false });
    await accepted(ofNewKey);
  });

  it("starts without the issuer, cannot decide about users, serves services, and knows users once it is there", async () => {
    await issuer.setAway({ isAway: true });
    const late = await start("without-issuer");
    try {
      const token = await issue();
      expect(await refusal(token, late)).toMatchObject(UNDECIDED);
      const [, adminSecret = ""] = /^admin key: (\S+)$/m.exec(late.stdout()) ?? [];
      await connect(late.url, adminSecret).keys.listKeys({});
      expect(late.stderr()).toContain("its keys could not be loaded");
      await issuer.setAway({ isAway: false });
      expect(await eventually(() => ownerOf(token, late))).toBe("acme:ada");
      expectNoTokenIn(late);
    } finally {
      await late.stop();
    }
  });

  it("refuses what attackers send", async () => {
    const genuine = await issue();
    const [head, , signature] = genuine.split(".");
    const past = Math.floor(Date.now() / 1000) - 60;
    const claims = decodeJwt(genuine);
    const publicKey = createPublicKey({ key: await currentKey(), format: "jwk" });
    const pem = Buffer.from(publicKey.export({ type: "spki", format: "pem" }));
    const changed = Buffer.from(JSON.stringify({ ...claims, sub: "root" })).toString("base64url");
    const header = decodeProtectedHeader(genuine);
    const attacks: [string, string, string][] = [
      ["alg none", forgeToken({ header: { ...header, alg: "none" }, claims }), "algorithm"],
      ["HS256 with the public key", forgeToken({ header: { ...header, alg: "HS256" }, claims, key: pem }), "algorithm"],
      ["another's claims", `${head}.${changed}.${signature}`, "signature"],
      ["no signature", genuine.replace(/[^.]*$/, ""), "signature"],
      ["another audience", await issue({ audience: "billing" }), "audience"],
      ["another issuer", await issue({ claims: { iss: "https://login.example.com" } }), "issuer"],
      ["expired", await issue({ claims: { exp: past } }), "expired"],
      ["not yet valid", await issue({ claims: { nbf: past + 3600 } }), "not_yet_valid"],
      ["an unknown key", await issue({ header: { kid: "../../dev/null" } }), "key_unknown"],
      ["no subject", await issue({ claims: { sub: null } }), "subject"],
      ["a reserved subject", await issue({ claims: { sub: "a\u0000b" } }), "subject"],
      ["garbage", "eyJhbGciOiJSUzI1NiJ9.garbage.garbage", "malformed"],
    ];
    for (const [name, token, cause] of attacks) {
      const refused = await refusal(token);
      expect(refused, name).toMatchObject({ ...INVALID, metadata: { cause } });
      expect(JSON.stringify(refused), name).not.toContain(token.split(".")[1]);
    }
    await accepted(genuine);
  });

  // Last: it looks at what all of the above has left behind.
  it("logs every one of those calls, and no part of a token", async () => {
    expect(sent.length).toBeGreaterThan(20);
    await eventually(() => expect(server.stderr()).toContain('"code":"UNAUTHENTICATED"'));
    expectNoTokenIn(server);
  });

  function expectNoTokenIn({ stdout, stderr }: ServerProcess): void {
    const output = stdout() + stderr();
    expect(output).toContain("ListKeys");
    for (const token of sent) {
      const parts = token.split(".").filter((part) => part.length > 20);
      for (const part of [token, ...parts]) expect(output.includes(part), part).toBe(false);
    }
  }

  async function currentKey() {
    const [jwk] = (await issuer.publicKeys()).keys;
    if (jwk === undefined) throw new Error("the issuer has no key");
    return jwk;
  }
});

function kidOf(token: string): string | undefined {
  return decodeProtectedHeader(token).kid;
}
