import { randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { RotateKeyRequestSchema } from "#gen/claviger/v1/key_management_pb.js";
import { Keyring } from "../../src/keys/keyring.ts";
import { deriveRootKeys } from "../../src/keys/root-secret.ts";
import { type Clients, connect } from "../../testkit/claviger.ts";
import type { Canary } from "./spellings.ts";

export interface CanaryLifeOptions {
  readonly url: string;
  readonly adminToken: string;
  /** Tokens of users: a good one and bad ones. Default none. */
  readonly userTokens?: Readonly<Record<string, string>>;
  /** Makes storage fail in different ways, one after the other, and calls `work` during each. Default none. */
  readonly whileStorageFails?: (work: () => Promise<void>) => Promise<void>;
}

/** What a whole life left in the hands of the client. */
export interface CanaryLife {
  /** Every secret that was shown, presented or pasted. */
  readonly canaries: readonly Canary[];
  /** Every error that was received, whole. */
  readonly errors: readonly string[];
  /** The codes of those errors. */
  readonly codes: ReadonlySet<string>;
  /** What was answered that should not have held a secret. */
  readonly answers: readonly string[];
}

const FOREIGN_ROOTS = [deriveRootKeys(Buffer.alloc(32, 9))] as const;

/** Lives through everything that can happen to a key, with errors at every step, and secrets wherever people paste them. */
export async function liveThrough(options: CanaryLifeOptions): Promise<CanaryLife> {
  const { url, adminToken } = options;
  const canaries: Canary[] = [{ name: "the admin secret", text: adminToken }];
  const errors: string[] = [];
  const answers: string[] = [];
  const codes = new Set<string>();
  const admin = connect(url, adminToken);

  const known = (name: string, text: string) => {
    canaries.push({ name, text });
    return text;
  };
  const answered = (answer: unknown) => {
    answers.push(JSON.stringify(answer, (_, value) => (typeof value === "bigint" ? `${value}` : value)));
  };
  const fails = async (call: Promise<unknown>) => {
    const error = await call.then(
      (answer) => {
        throw new Error(`should have failed: ${JSON.stringify(Object.keys(answer ?? {}))}`);
      },
      (reason: unknown) => ConnectError.from(reason),
    );
    codes.add(Code[error.code]);
    const details = error.details.map((detail) => ("value" in detail ? Buffer.from(detail.value as Uint8Array) : ""));
    errors.push([error.message, ...details.map((bytes) => bytes.toString("latin1")), headersOf(error)].join("\n"));
  };
  const mint = async (name: string, request: Parameters<Clients["keys"]["createKey"]>[0]) => {
    const { key, secret } = await admin.keys.createKey({ displayName: "k", ...request });
    answered(key);
    return { id: key?.id ?? "", secret: known(name, secret) };
  };

  const one = await mint("a created secret", { owner: "canary", scopes: ["a:b"], metadata: { plan: "pro" } });
  const mistyped = known("a mistyped secret", mistype(one.secret));
  const foreign = new Keyring({ roots: FOREIGN_ROOTS, brand: "clv" });
  const stranger = known(
    "a secret of another Claviger",
    foreign.mint("live", (n) => randomBytes(n), []).secret.reveal(),
  );
  const presented = [one.secret, mistyped, stranger, `secret-token:${one.secret}`, `${one.secret} `];

  for (const secret of presented) {
    answered(await admin.verifier.verify({ secret, requiredScopes: ["a:c"], clientIp: "10.0.0.1" }));
    answered(await admin.verifier.verify({ secret }));
    await fails(admin.verifier.verify({ secret, clientIp: secret }));
    await fails(admin.verifier.verify({ secret, requiredScopes: [secret] }));
    await fails(connect(url, secret).keys.listKeys({ pageToken: secret }));
  }
  for (const secret of [one.secret, mistyped]) await pasteEverywhere(admin, secret);
  for (const [kind, token] of Object.entries({ ...options.userTokens, mistyped, stranger })) {
    if (token.includes(".")) known(`a token: ${kind}`, token);
    await connect(url, token)
      .keys.listKeys({ owner: "somebody-else" })
      .then(answered, (error: unknown) => fails(Promise.reject(error)));
  }
  const requests = Array.from({ length: 101 }, () => ({ secret: one.secret }));
  await fails(admin.keys.getKey({ keyId: "key_01h455vb4pex5vsknk084sn02q" }));
  await fails(admin.verifier.batchVerify({ requests }));
  answered(await admin.verifier.batchVerify({ requests: requests.slice(0, 3) }));
  await fails(admin.verifier.verify({ secret: one.secret.repeat(80) }));
  await fails(admin.verifier.verify({ secret: one.secret.repeat(1200) }));
  await sendGarbage(one.secret);

  const { secret: rotated, ...rest } = await admin.keys.rotateKey({
    keyId: one.id,
    gracePeriod: durationFromMs(60_000),
  });
  answered(rest);
  known("a rotated secret", rotated);
  answered(await admin.verifier.verify({ secret: one.secret }));
  answered(await admin.keys.retireSecret({ keyId: one.id, version: 1 }));
  await fails(connect(url, one.secret).keys.listKeys({}));

  const service = await mint("a service's secret", { owner: "canary-service", scopes: ["claviger:keys.write"] });
  await fails(connect(url, service.secret).keys.createKey({ owner: "x", displayName: "k", scopes: ["claviger:*"] }));
  await fails(connect(url, service.secret).keys.getKey({ keyId: one.id }));
  await admin.keys.updateKey({ key: { id: service.id, disabled: true }, updateMask: { paths: ["disabled"] } });
  await fails(connect(url, service.secret).keys.createKey({ owner: "x", displayName: "k" }));

  const requestId = "0198f7a0-1c5e-7c3a-9f00-5a1e0c3b2d11";
  await mint("a secret under a request id", { owner: "canary-once", requestId });
  await fails(admin.keys.createKey({ owner: "canary-once", displayName: "k", requestId }));
  await fails(admin.keys.createKey({ owner: "canary-other", displayName: "k", requestId }));

  await options.whileStorageFails?.(async () => {
    for (const { secret } of [one, service]) {
      await fails(admin.verifier.verify({ secret }));
      await fails(connect(url, secret).keys.createKey({ owner: "storage", displayName: "k" }));
      await fails(connect(url).keys.reportLeakedSecret({ secret, source: secret }));
    }
  });

  const leaked = await mint("a leaked secret", { owner: "canary-leak" });
  const source = `https://example.com/paste?key=${leaked.secret}`;
  for (const secret of [leaked.secret, leaked.secret, mistyped, stranger, ""]) {
    answered(await connect(url).keys.reportLeakedSecret({ secret, source }));
  }
  answered(await admin.verifier.verify({ secret: leaked.secret }));
  answered(await admin.keys.revokeKey({ keyId: one.id, note: `found ${rotated} in a log` }));
  const bulk = await mint("a secret revoked in bulk", { owner: "canary-bulk" });
  answered(await admin.keys.revokeKeys({ owner: "canary-bulk", note: `also ${bulk.secret}` }));
  await fails(admin.keys.rotateKey({ keyId: one.id }));
  answered(await admin.keys.listKeys({ pageSize: 1000 }));
  answered(await admin.keys.listAuditEvents({ pageSize: 1000 }));
  return { canaries, errors, codes, answers };

  /** Into every field of a request that takes text, and that is not for keeping what it is given. */
  async function pasteEverywhere({ keys }: Clients, secret: string): Promise<void> {
    const name = { owner: "canary", displayName: "k" };
    await fails(keys.getKey({ keyId: secret }));
    await fails(keys.revokeKey({ keyId: secret }));
    await fails(keys.retireSecret({ keyId: secret, version: 1 }));
    await fails(keys.rotateKey(create(RotateKeyRequestSchema, { keyId: secret, etag: secret, requestId: secret })));
    await fails(keys.createKey({ ...name, requestId: secret }));
    await fails(keys.createKey({ ...name, allowedCidrs: [secret] }));
    await fails(keys.createKey({ ...name, scopes: [`${secret} `] }));
    await fails(keys.createKey({ ...name, labels: { [secret.toUpperCase()]: "x" } }));
    await fails(keys.createKey({ ...name, displayName: `${secret} and more` }));
    await fails(keys.updateKey({ key: { id: secret, displayName: "x" }, updateMask: { paths: ["display_name"] } }));
    await fails(keys.updateKey({ key: { id: one.id }, updateMask: { paths: [secret] } }));
    await fails(keys.listKeys({ pageToken: secret }));
    await fails(keys.listAuditEvents({ pageToken: secret, keyId: secret }));
    const headers = { "x-request-id": secret.trim(), "user-agent": secret.trim(), "x-api-key": secret.trim() };
    answered(
      await keys.listKeys({ pageSize: 1, owner: "nobody" }, { headers, onHeader: (h) => void answered([...h]) }),
    );
  }

  /** Straight over HTTP, as a client that is wrong about the protocol. */
  async function sendGarbage(secret: string): Promise<void> {
    const path = "/claviger.v1.KeyVerifier/Verify";
    const authorization = `Bearer ${adminToken}`;
    const json = "application/json";
    const attempts: readonly (readonly [path: string, init: RequestInit])[] = [
      [
        path,
        { method: "POST", headers: { authorization, "content-type": json }, body: `{"secret": "${secret}", oops` },
      ],
      [
        path,
        { method: "POST", headers: { authorization, "content-type": json }, body: `{"secret": {"${secret}": 1}}` },
      ],
      [path, { method: "POST", headers: { authorization, "content-type": json }, body: `{"${secret}": 1}` }],
      [path, { method: "POST", headers: { authorization, "content-type": "application/grpc" }, body: secret }],
      [path, { method: "POST", headers: { authorization, "content-type": "application/proto" }, body: secret }],
      [path, { method: "POST", headers: { authorization, "content-type": secret.trim() }, body: secret }],
      [path, { method: "POST", headers: { authorization: `Basic ${secret}`, "content-type": json }, body: "{}" }],
      [path, { method: "POST", headers: { authorization: secret, "content-type": json }, body: "{}" }],
      [`${path}?encoding=json&message=${encodeURIComponent(secret)}`, { headers: { authorization } }],
      [`/claviger.v1.KeyVerifier/${encodeURIComponent(secret)}`, { method: "POST", headers: { authorization } }],
    ];
    for (const [target, init] of attempts) {
      const response = await fetch(new URL(target, url), init);
      const text = await response.text();
      if (response.ok) answered([text, [...response.headers]]);
      else errors.push([response.status, text, JSON.stringify([...response.headers])].join("\n"));
    }
  }
}

function mistype(secret: string): string {
  const at = 20;
  return `${secret.slice(0, at)}${secret[at] === "x" ? "y" : "x"}${secret.slice(at + 1)}`;
}

function headersOf(error: ConnectError): string {
  return JSON.stringify([...error.metadata].map(([name, value]) => [name, decodeIfBinary(name, value)]));
}

/** `…-bin` headers are base64 of the details, in which nothing could be found otherwise. */
function decodeIfBinary(name: string, value: string): string {
  return name.endsWith("-bin") ? Buffer.from(value, "base64").toString("latin1") : value;
}
