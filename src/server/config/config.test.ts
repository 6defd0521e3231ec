import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { rootCertificates } from "node:tls";
import { inspect } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ConfigError, loadConfig, WORKER_NUMBER } from "./config.ts";
import { DEFAULT_POLICY } from "./policy.ts";
import { parseRootSecrets } from "./settings.ts";

const ROOT = Buffer.alloc(32, 1).toString("base64");
const OTHER_ROOT = Buffer.alloc(48, 2).toString("base64");
const URL = "postgres://claviger:hunter2@db.example:5432/claviger";
const onPostgres = { DATABASE_URL: URL, CLAVIGER_ROOT_SECRETS: ROOT };

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "claviger-config-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function fileWith(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

async function complaintAbout(environment: Readonly<Record<string, string>>): Promise<ConfigError> {
  const error = await loadConfig(environment).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof ConfigError) return error;
  throw new Error(`no ConfigError but ${inspect(error)}`);
}

describe("without settings", () => {
  it("the server is embedded, on loopback, asks verifiers for a key, and offers reflection", async () => {
    expect(await loadConfig({})).toEqual({
      listen: { host: "127.0.0.1", port: 4640 },
      services: [],
      storage: { kind: "embedded", folder: ".claviger" },
      ...{ leaseDatabaseUrl: undefined, redis: undefined, onDatabaseLoss: "deny", canaryMs: undefined },
      workers: 1,
      onLimiterLoss: "allow",
      rootSecrets: undefined,
      verifyAccess: "key",
      reflection: true,
      logLevel: "info",
      logFormat: "auto",
      policy: DEFAULT_POLICY,
      issuers: [],
      flagsFile: undefined,
      described: {},
      warnings: [],
    });
  });

  it("an empty or blank setting counts as none", async () => {
    const blank = { CLAVIGER_LISTEN: "", CLAVIGER_VERIFY_ACCESS: " ", DATABASE_URL: "", CLAVIGER_POLICY: "\n" };
    expect(await loadConfig(blank)).toEqual(await loadConfig({}));
  });
});

describe("a setting that is right", () => {
  it("is taken", async () => {
    const config = await loadConfig({
      ...onPostgres,
      CLAVIGER_LISTEN: "localhost:0",
      CLAVIGER_VERIFY_ACCESS: "open",
      CLAVIGER_REFLECTION: "on",
      CLAVIGER_LOG_LEVEL: "debug",
      CLAVIGER_POLICY: '{"manage": {"keysPerOwner": 20}}',
    });
    expect(config).toMatchObject({
      listen: { host: "localhost", port: 0 },
      storage: { kind: "postgres" },
      verifyAccess: "open",
      reflection: true,
      logLevel: "debug",
      policy: { ...DEFAULT_POLICY, manage: { ...DEFAULT_POLICY.manage, keysPerOwner: 20 } },
      warnings: [],
    });
  });

  it("turns reflection off with Postgres unless it is asked for", async () => {
    expect((await loadConfig(onPostgres)).reflection).toBe(false);
    expect((await loadConfig({ CLAVIGER_REFLECTION: "off" })).reflection).toBe(false);
  });

  it("can name an IPv6 address in brackets", async () => {
    expect((await loadConfig({ CLAVIGER_LISTEN: "[::1]:80" })).listen).toEqual({ host: "::1", port: 80 });
  });

  it("can be a secret from a file, whose end of line is not part of it", async () => {
    const config = await loadConfig({
      DATABASE_URL_FILE: fileWith("url", `${URL}\n`),
      CLAVIGER_ROOT_SECRETS_FILE: fileWith("roots", `${ROOT}\n${OTHER_ROOT}\n`),
    });
    expect(config.storage.kind === "postgres" ? config.storage.url.reveal() : "").toBe(URL);
    expect(config.rootSecrets && parseRootSecrets(config.rootSecrets)).toEqual([
      Buffer.alloc(32, 1),
      Buffer.alloc(48, 2),
    ]);
  });

  it("never shows a secret when the configuration is printed", async () => {
    const config = await loadConfig(onPostgres);
    for (const text of [inspect(config, { depth: null, showHidden: true }), JSON.stringify(config)]) {
      expect(text).not.toContain("hunter2");
      expect(text).not.toContain(ROOT);
    }
  });
});

describe("a setting that is wrong stops the start, and the message says which, what is wrong, and what is right", () => {
  it.each([
    ["CLAVIGER_LISTEN", "4640", ["4640", "host:port"]],
    ["CLAVIGER_LISTEN", "127.0.0.1", ["127.0.0.1", "host:port"]],
    ["CLAVIGER_LISTEN", "127.0.0.1:http", ["http", "host:port"]],
    ["CLAVIGER_LISTEN", "127.0.0.1:65536", ["65536", "host:port"]],
    ["CLAVIGER_LISTEN", "::1:4640", ["::1:4640", "host:port"]],
    ["CLAVIGER_ON_LIMITER_LOSS", "maybe", ["maybe", "allow, deny"]],
    ["CLAVIGER_WORKERS", "0", ["0", "from 1 to 256, or auto"]],
    ["CLAVIGER_WORKERS", "1.5", ["1.5", "from 1 to 256, or auto"]],
    ["CLAVIGER_WORKERS", "2", ["2", "embedded database", "DATABASE_URL"]],
    ["CLAVIGER_VERIFY_ACCESS", "everybody", ["everybody", "key, open"]],
    ["CLAVIGER_VERIFY_ACCESS", "OPEN", ["OPEN", "key, open"]],
    ["CLAVIGER_REFLECTION", "yes", ["yes", "on, off"]],
    ["CLAVIGER_LOG_LEVEL", "loud", ["loud", "debug, info, warn"]],
    ["CLAVIGER_POLICY", "20", ["JSON object", "keysPerOwner"]],
    ["CLAVIGER_POLICY", '{"manage": {"keysPerUser": 1}}', ["manage.keysPerUser", "keysPerOwner"]],
  ])("%s=%s", async (variable, value, parts) => {
    const complaint = await complaintAbout({ [variable]: value });
    expect(complaint.setting).toBe(variable);
    for (const part of [variable, ...parts]) expect(complaint.message).toContain(part);
  });
});

describe("a secret setting that is wrong stops the start, and the message does not show it", () => {
  const secretText = "hunter2hunter2";
  it.each([
    ["DATABASE_URL", { DATABASE_URL: `mysql://root:${secretText}@h/d` }, "postgres://user:password@host"],
    ["DATABASE_URL", { DATABASE_URL: `postgres://root:${secretText}@[h/d` }, "postgres://user:password@host"],
    ["DATABASE_URL", { DATABASE_URL: `postgres://root:${secretText}/x@h/d` }, "Percent-encode"],
    ["DATABASE_URL", { DATABASE_URL: `postgres://root:${secretText}@h/d`, PGSSLMODE: "requir" }, "verify-full"],
    ["CLAVIGER_ROOT_SECRETS", { CLAVIGER_ROOT_SECRETS: secretText }, "openssl rand -base64 32"],
    ["CLAVIGER_ROOT_SECRETS", { CLAVIGER_ROOT_SECRETS: `${ROOT},${secretText}` }, "number 2"],
    ["CLAVIGER_ROOT_SECRETS", { CLAVIGER_ROOT_SECRETS: `${secretText}!${ROOT}` }, "number 1"],
    ["CLAVIGER_ROOT_SECRETS", { CLAVIGER_ROOT_SECRETS: " , " }, "at least one"],
    ["CLAVIGER_ROOT_SECRETS", { DATABASE_URL: URL }, "openssl rand -base64 32"],
    ["CLAVIGER_ROOT_SECRETS", { CLAVIGER_ROOT_SECRETS: ROOT, CLAVIGER_ROOT_SECRETS_FILE: "f" }, "Unset one"],
    ["DATABASE_URL", { ...onPostgres, DATABASE_URL_FILE: "f" }, "Unset one"],
  ])("%s, %j", async (variable, environment, right) => {
    const complaint = await complaintAbout(environment);
    expect(complaint.setting).toBe(variable);
    expect(complaint.message).toContain(variable);
    expect(complaint.message).toContain(right);
    for (const secret of [secretText, "hunter2", ROOT]) expect(inspect(complaint)).not.toContain(secret);
  });

  it("what is in a file is not shown either, but why it cannot be read is", async () => {
    const wrong = await complaintAbout({ CLAVIGER_ROOT_SECRETS_FILE: fileWith("wrong", secretText) });
    expect(inspect(wrong)).not.toContain(secretText);
    const missing = await complaintAbout({ CLAVIGER_ROOT_SECRETS_FILE: join(folder, "missing") });
    expect(missing.setting).toBe("CLAVIGER_ROOT_SECRETS_FILE");
    expect(missing.message).toContain("ENOENT");
    expect(missing.message).toContain(join(folder, "missing"));
    const empty = await complaintAbout({ CLAVIGER_ROOT_SECRETS_FILE: fileWith("empty", "\n") });
    expect(empty.message).toContain("is empty");
  });
});

describe("a secret in the place of the path of its file", () => {
  it.each([
    ["CLAVIGER_ROOT_SECRETS_FILE", ROOT],
    ["CLAVIGER_ROOT_SECRETS_FILE", `${ROOT},${OTHER_ROOT}`],
    ["CLAVIGER_ROOT_SECRETS_FILE", Buffer.alloc(33, 1).toString("base64url")],
    ["DATABASE_URL_FILE", URL],
    ["REDIS_URL_FILE", "redis://:hunter2@r"],
  ])("is not shown by the message: %s=%s", async (variable, secret) => {
    const { message } = await complaintAbout({ [variable]: secret });
    expect(message).toContain(`${variable} names something that does not look like a path`);
    expect(message).not.toContain(secret);
  });
});

describe("TLS to Postgres", () => {
  const TLS = { PGSSLMODE: "verify-full", PGSSLROOTCERT: "/ca s.crt" };
  const HOST = "postgres://u:hunter2@h/d";
  it.each([
    [HOST, {}, HOST],
    [HOST, TLS, `${HOST}?sslmode=verify-full&sslrootcert=%2Fca%20s.crt`],
    [`${HOST}?sslmode=disable`, TLS, `${HOST}?sslmode=disable&sslrootcert=%2Fca%20s.crt`],
    [`${HOST}?ssl=no-verify`, { PGSSLMODE: "verify-full" }, `${HOST}?ssl=no-verify`],
  ])("is what the URL says, and else the environment: %s, %j", async (url, environment, read) => {
    const { storage, leaseDatabaseUrl } = await loadConfig({
      ...{ ...environment, DATABASE_URL: url, CLAVIGER_LEASE_DATABASE_URL: url, CLAVIGER_ROOT_SECRETS: ROOT },
    });
    expect(storage.kind === "postgres" && storage.url.reveal()).toBe(read);
    expect(leaseDatabaseUrl?.reveal()).toBe(read);
  });
});

describe("Redis and leases", () => {
  it("are off, or at their defaults, where nothing is said", async () => {
    const { redis, onDatabaseLoss, policy, leaseDatabaseUrl } = await loadConfig({});
    expect([redis, onDatabaseLoss, policy.revocation.leaseMs, leaseDatabaseUrl]).toEqual([
      undefined,
      "deny",
      3000,
      undefined,
    ]);
  });

  it("are as they are set", async () => {
    const config = await loadConfig({
      REDIS_URL: "redis://:hunter2@r",
      CLAVIGER_LEASE_MS: "500",
      CLAVIGER_LEASE_DATABASE_URL: URL,
      CLAVIGER_ON_DATABASE_LOSS: "revocation-set",
    });
    expect(config.redis).toEqual({ kind: "standalone", url: "redis://:hunter2@r" });
    expect(config.leaseDatabaseUrl?.reveal()).toBe(URL);
    expect([config.onDatabaseLoss, config.policy.revocation.leaseMs]).toEqual(["revocation-set", 500]);
    expect(JSON.stringify(config.described)).not.toContain("hunter2");
  });

  it.each([
    ["REDIS_URL", { REDIS_URL: "http://:hunter2@r" }],
    ["CLAVIGER_LEASE_MS", { CLAVIGER_LEASE_MS: "3s" }],
    ["CLAVIGER_LEASE_MS", { CLAVIGER_LEASE_MS: "1" }],
    ["CLAVIGER_CANARY_MS", { CLAVIGER_CANARY_MS: "often" }],
    // 30 days: a timer of Node would fire at once, again and again.
    ["CLAVIGER_CANARY_MS", { CLAVIGER_CANARY_MS: "2592000000" }],
    ["CLAVIGER_LEASE_DATABASE_URL", { CLAVIGER_LEASE_DATABASE_URL: "mysql://x" }],
    ["CLAVIGER_ON_DATABASE_LOSS", { CLAVIGER_ON_DATABASE_LOSS: "revocation-set" }],
    ["CLAVIGER_ON_DATABASE_LOSS", { CLAVIGER_ON_DATABASE_LOSS: "revocation-set", REDIS_URL: "redis://a,redis://b" }],
    ["CLAVIGER_ON_DATABASE_LOSS", { CLAVIGER_ON_DATABASE_LOSS: "revocation-set", REDIS_URL: "redis+sentinel://a/m" }],
  ])("are refused where %s is wrong: %j", async (variable, settings) => {
    const { message } = await complaintAbout(settings);
    expect(message).toContain(variable);
    expect(message).toMatch(/Give|Set one/);
    expect(message).not.toContain("hunter2");
  });
});

describe("the files and passwords that Redis takes", () => {
  const file = (name: string) => join(folder, name);

  beforeAll(() => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    fileWith("redis.key", privateKey.export({ type: "pkcs8", format: "pem" }).toString());
    // A CA that every Node has.
    fileWith("ca.crt", rootCertificates[0] ?? "");
    fileWith("garbage", "no PEM");
  });

  it("are read at the start", async () => {
    const { redis, described } = await loadConfig({
      ...{ REDIS_URL: "rediss+sentinel://u:p@a/main", REDIS_TLS_CA: file("ca.crt") },
      ...{ REDIS_SENTINEL_USERNAME: "s", REDIS_SENTINEL_PASSWORD: "hunter2" },
    });
    expect(redis).toMatchObject({
      ...{ kind: "sentinel", username: "u", password: "p", certificates: { ca: rootCertificates[0] } },
      sentinelAccess: { username: "s", password: "hunter2" },
    });
    expect(JSON.stringify(described)).not.toContain("hunter2");
  });

  it("leave one socket to the revocation set", async () => {
    const env = { REDIS_URL: "unix:///run/redis.sock", CLAVIGER_ON_DATABASE_LOSS: "revocation-set" };
    expect((await loadConfig(env)).onDatabaseLoss).toBe("revocation-set");
  });

  it.each([
    ["REDIS_TLS_CA", "rediss://a", ["REDIS_TLS_CA", "missing"], "cannot be read (ENOENT). Correct the path"],
    ["REDIS_TLS_CA", "rediss://a", ["REDIS_TLS_CA", "garbage"], "which is not a certificate in PEM. Give such a file"],
    ["REDIS_TLS_KEY", "rediss://a", ["REDIS_TLS_KEY", "redis.key"], "is set without REDIS_TLS_CERT. Set both"],
    ["REDIS_TLS_CERT", "rediss://a", ["REDIS_TLS_CERT", "ca.crt"], "is set without REDIS_TLS_KEY. Set both"],
    [
      "REDIS_TLS_KEY",
      "rediss://a",
      ["REDIS_TLS_CERT", "ca.crt", "REDIS_TLS_KEY", "redis.key"],
      "is not the key of the certificate in REDIS_TLS_CERT. Correct one",
    ],
    ["REDIS_TLS_KEY", "rediss://a", ["REDIS_TLS_CERT", "ca.crt", "REDIS_TLS_KEY", "ca.crt"], "is not a private key"],
    ["REDIS_URL", "redis://a", ["REDIS_TLS_CA", "ca.crt"], "is not for TLS"],
    ["REDIS_SENTINEL_PASSWORD", "redis://a", ["REDIS_SENTINEL_PASSWORD", ""], "names no sentinels"],
  ] as const)("are refused where %s is wrong", async (variable, url, [one, first, two, second], text) => {
    const given = { [one]: file(first), ...(two === undefined ? {} : { [two]: file(second ?? "") }) };
    const { message } = await complaintAbout({ REDIS_URL: url, ...given });
    expect(message.startsWith(`${variable} `)).toBe(true);
    expect(message).toContain(text);
  });
});

describe("what the operator should know is a warning", () => {
  it.each(["0.0.0.0:4640", "[::]:4640", "10.0.0.1:4640", "example.com:4640"])(
    "when secrets cross the network in clear, listening on %s",
    async (listen) => {
      expect((await loadConfig({ CLAVIGER_LISTEN: listen })).warnings).toEqual([
        expect.stringMatching(/in clear.*TLS/),
      ]);
    },
  );

  it.each(["127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1"])("but not on loopback, %s", async (listen) => {
    expect((await loadConfig({ CLAVIGER_LISTEN: listen })).warnings).toEqual([]);
  });
});

describe("a variable that begins with CLAVIGER_ and is not known", () => {
  const warningsOf = async (environment: Readonly<Record<string, string>>) => (await loadConfig(environment)).warnings;

  it.each([
    ["CLAVIGER_VERIFY_ACCES", "CLAVIGER_VERIFY_ACCESS"],
    ["CLAVIGER_ON_LIMITER_LOS", "CLAVIGER_ON_LIMITER_LOSS"],
    ["CLAVIGER_LIMITER_LOSS", "CLAVIGER_ON_LIMITER_LOSS"],
    ["CLAVIGER_ON_DATABSE_LOSS", "CLAVIGER_ON_DATABASE_LOSS"],
    ["CLAVIGER_JWT_ISSUER", "CLAVIGER_JWT_ISSUERS"],
    ["CLAVIGER_FLAG_FILE", "CLAVIGER_FLAGS_FILE"],
    ["CLAVIGER_FLAGS", "CLAVIGER_FLAGS_FILE"],
    ["CLAVIGER_POLICY_FILE", "CLAVIGER_POLICY"],
    ["CLAVIGER_LOGLEVEL", "CLAVIGER_LOG_LEVEL"],
    ["CLAVIGER_Verify_Access", "CLAVIGER_VERIFY_ACCESS"],
    ["CLAVIGER_VERIFY", "CLAVIGER_VERIFY_ACCESS"],
    ["CLAVIGER_DATABASE_URL", "DATABASE_URL"],
    ["CLAVIGER_REDIS_URL", "REDIS_URL"],
    ["CLAVIGER_ROOT_SECRET_FILE", "CLAVIGER_ROOT_SECRETS_FILE"],
  ])("is reported with the one that was meant, and without its value: %s", async (variable, meant) => {
    expect(await warningsOf({ [variable]: "hunter2" })).toEqual([
      `${variable} is not a setting, and is ignored. Did you mean ${meant}?`,
    ]);
  });

  it("is reported where nothing is like it", async () => {
    for (const variable of ["CLAVIGER_", "CLAVIGER_X", "CLAVIGER_TLS_CERTIFICATE"]) {
      expect(await warningsOf({ [variable]: "" })).toEqual([
        `${variable} is not a setting, and is ignored. Correct its name, or unset it`,
      ]);
    }
  });

  it("is reported by one of several workers", async () => {
    const settings = { ...onPostgres, CLAVIGER_WORKERS: "2", CLAVIGER_VERIFY_ACCES: "key" };
    expect(await warningsOf({ ...settings, [WORKER_NUMBER]: "1" })).toHaveLength(1);
    expect(await warningsOf({ ...settings, [WORKER_NUMBER]: "2" })).toEqual([]);
  });

  it("is none of the command line's, and none that Kubernetes sets for a service of that name", async () => {
    const known = {
      CLAVIGER_URL: "http://127.0.0.1:4640",
      CLAVIGER_TOKEN: "t",
      CLAVIGER_LEASE_DATABASE_URL_FILE: fileWith("lease-url", URL),
      CLAVIGER_SERVICE_HOST: "10.0.0.1",
      CLAVIGER_SERVICE_PORT: "4640",
      CLAVIGER_SERVICE_PORT_GRPC: "4640",
      CLAVIGER_PORT: "tcp://10.0.0.1:4640",
      CLAVIGER_PORT_4640_TCP: "tcp://10.0.0.1:4640",
      CLAVIGER_PORT_4640_TCP_ADDR: "10.0.0.1",
      CLAVIGER_CANARY_SERVICE_HOST: "10.0.0.2",
    };
    expect(await warningsOf(known)).toEqual([]);
    expect(await warningsOf({ CLAVIGER_PORT: "4640" })).toHaveLength(1);
  });
});

describe("workers", () => {
  const load = (settings: Readonly<Record<string, string>>) => loadConfig({ ...onPostgres, ...settings });

  it("share the connections to Postgres that one process has", async () => {
    const { workers, policy } = await load({
      CLAVIGER_WORKERS: "4",
      CLAVIGER_POLICY: '{"postgres": {"poolSize": 10}}',
    });
    expect({ workers, poolSize: policy.postgres.poolSize }).toEqual({ workers: 4, poolSize: 3 });
    expect((await load({ CLAVIGER_WORKERS: "200" })).policy.postgres.poolSize).toBe(2);
    expect((await load({ CLAVIGER_POLICY: '{"postgres": {"poolSize": 1}}' })).policy.postgres.poolSize).toBe(1);
  });

  it("are as many as there are cores, if that is asked for", async () => {
    expect((await load({ CLAVIGER_WORKERS: "auto" })).workers).toBe(availableParallelism());
  });

  it("have one canary among them", async () => {
    const settings = { CLAVIGER_WORKERS: "2", CLAVIGER_CANARY_MS: "5000" };
    expect((await load({ ...settings, [WORKER_NUMBER]: "1" })).canaryMs).toBe(5000);
    expect((await load({ ...settings, [WORKER_NUMBER]: "2" })).canaryMs).toBeUndefined();
  });
});
