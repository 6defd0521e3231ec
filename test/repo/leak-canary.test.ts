import { execFileSync } from "node:child_process";
import { existsSync, globSync, readFileSync, statSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bootstrapAdmin } from "../../src/server/bootstrap.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { type Clients, connect } from "../../testkit/connect.ts";
import { eventually } from "../../testkit/eventually.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { findPostgresBinaries } from "../../testkit/postgres-binaries.ts";
import { type PostgresServer, startPostgresServer } from "../../testkit/postgres-server.ts";
import { type ServerProcess, startServer } from "../../testkit/server-process.ts";
import { createTcpProxy, type TcpProxy } from "../../testkit/tcp-proxy.ts";
import { type CanaryLife, liveThrough } from "./canary-life.ts";
import { type Canary, type Place, search, spellingsOf } from "./spellings.ts";

const ROOT_SECRET = "Q2FuYXJ5IHJvb3Qgc2VjcmV0LCBub3QgYSByZWFsIG9uZSE=";
const PASSWORD = "canary-database-password-7f3a";
const ISSUER = "https://login.example.com";

/** The control: what careless changes would do. */
const CARELESS: readonly Mutation[] = [
  {
    file: "src/rpc/key-management.ts",
    find: "return { key: keyToProto(view), secret: secret.reveal() };",
    replace: "process.stderr.write(secret.reveal()); return { key: keyToProto(view), secret: secret.reveal() };",
  },
  {
    file: "src/manage/create-key.ts",
    find: "const { secret, digest, rootId, hint } = minted;",
    replace: "const { secret, digest, rootId } = minted; const hint = secret.reveal();",
  },
];

describe("the search for leaks", () => {
  const secret = `clv_live_${"Ab3".repeat(14)}c123456`;

  it.each(Object.entries(spellingsOf(secret)))("finds a secret spelt as %s", (_name, form) => {
    expect(search([{ name: "it", text: secret }], [{ where: "here", content: `a ${form} b` }])).not.toEqual([]);
    const bytes = Buffer.from(`\0${form}\0`, "latin1");
    expect(search([{ name: "it", text: secret }], [{ where: "here", content: bytes }])).not.toEqual([]);
  });

  it("finds nothing where the secret is redacted", () => {
    expect(
      search([{ name: "it", text: secret }], [{ where: "here", content: `clv_live_…${secret.slice(-4)}` }]),
    ).toEqual([]);
  });
});

describe("no secret is anywhere but in the answer that minted it (PGlite)", () => {
  let folder: string;
  let server: ServerProcess;
  let life: CanaryLife;
  const inFolder = (name: string) => join(folder, name);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "claviger-canary-"));
    server = await startServer({ env: { CLAVIGER_DATA_DIR: folder, CLAVIGER_LOG_LEVEL: "trace" } });
    const adminToken = readFileSync(inFolder("admin-key"), "utf8").trim();
    life = await liveThrough({ url: server.url, adminToken });
    await server.stop();
  });
  afterAll(async () => {
    await server?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it("not in the log, in errors, in other answers, or in the files of the database", () => {
    const root = { name: "the root secret", text: readFileSync(inFolder("root-secrets"), "utf8").trim() };
    const database = ofFiles(inFolder("database"));
    expect(database.length).toBeGreaterThan(100);
    const stderr = { where: "stderr", content: server.stderr() };
    expect(search([...life.canaries, root], [stderr, ...ofClient(life), ...database])).toEqual([]);
    expect(life.codes.size).toBeGreaterThan(5);
  });

  it("but the first admin secret, once on stdout and in a file for its owner alone", () => {
    const [admin, ...others] = life.canaries;
    expect(server.stdout().split(admin?.text ?? "").length - 1).toBe(1);
    expect(search(others, [{ where: "stdout", content: server.stdout() }])).toEqual([]);
    for (const name of ["admin-key", "root-secrets"]) expect(statSync(inFolder(name)).mode & 0o077).toBe(0);
  });
});

describe("no secret is anywhere but in the answer that minted it (Postgres)", () => {
  let folder: string;
  let database: PostgresServer;
  let proxy: TcpProxy;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "claviger-canary-"));
    const settings = { log_statement: "all", log_error_verbosity: "verbose", log_parameter_max_length_on_error: "-1" };
    database = await startPostgresServer({ settings: { ...settings, wal_level: "minimal", max_wal_senders: "0" } });
    proxy = await createTcpProxy({ port: database.port });
  });
  afterAll(async () => {
    await proxy?.close();
    await database?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const databaseUrl = (port: number) => `postgres://postgres:${PASSWORD}@127.0.0.1:${port}/postgres`;
  const settings = (port: number) => ({
    DATABASE_URL: databaseUrl(port),
    CLAVIGER_ROOT_SECRETS: ROOT_SECRET,
    CLAVIGER_LOG_LEVEL: "trace",
    // Nothing is answered from memory: it is failures that are looked for.
    CLAVIGER_POLICY: '{"verify": {"cacheEntryMs": 1}}',
  });
  const configured: Canary[] = [
    { name: "the root secret", text: ROOT_SECRET },
    { name: "the database's password", text: PASSWORD },
  ];

  /** Everything that Postgres holds: what it logged, what a dump of it shows, and its files with the write-ahead log. */
  async function ofDatabase(): Promise<Place[]> {
    const sql = postgres(database.url, { max: 1 });
    await sql`checkpoint`;
    await sql.end();
    const data = join(dirname(database.logFile), "data");
    const files = ["base", "pg_wal"].flatMap((name) => ofFiles(join(data, name)));
    const log = { where: "the log of Postgres", content: readFileSync(database.logFile) };
    return [log, ...dump(database.url), ...files];
  }

  async function live(mutations: readonly Mutation[]) {
    const { file, tokens } = await makeUsers(folder);
    const issuers = [{ issuer: ISSUER, audience: "claviger", algorithms: ["ES256"], jwks_file: file }];
    const env = { ...settings(proxy.port), CLAVIGER_JWT_ISSUERS: JSON.stringify(issuers) };
    const adminToken = (await bootstrapAdmin(await loadConfig(settings(database.port)))).secret.reveal();
    const server = await startServer({ env, mutate: mutations });
    const faults = { url: database.url, proxy, admin: connect(server.url, adminToken) };
    try {
      const whileStorageFails = (work: () => Promise<void>) => failStorage({ ...faults, work });
      const life = await liveThrough({ url: server.url, adminToken, userTokens: tokens, whileStorageFails });
      await server.stop();
      return { server, life };
    } finally {
      await server.stop();
    }
  }

  it("not in stdout, the log, errors, other answers, a dump, or the log and files of Postgres", async () => {
    const { server, life } = await live([]);
    const places = [...ofServer(server), ...ofClient(life), ...(await ofDatabase())];
    expect(search([...life.canaries, ...configured], places)).toEqual([]);
    expect(server.stderr()).toContain("internal error");
    expect(server.stderr()).toContain("the database could not be asked");
    expect([...life.codes]).toEqual(expect.arrayContaining(["Internal", "Unavailable", "InvalidArgument", "NotFound"]));
  });

  it("not in what a start prints that fails", async () => {
    const starts = [
      { ...settings(1) },
      { ...settings(database.port), DATABASE_URL: `postgre://postgres:${PASSWORD}@127.0.0.1/x` },
      { ...settings(database.port), DATABASE_URL: `${databaseUrl(database.port)}-missing` },
      { ...settings(database.port), CLAVIGER_ROOT_SECRETS: `${ROOT_SECRET},short` },
      { ...settings(database.port), CLAVIGER_ROOT_SECRETS: ROOT_SECRET.slice(0, 20) },
    ];
    for (const env of starts) {
      const output = await startServer({ env }).then(
        async (server) => {
          await server.stop();
          throw new Error("it started");
        },
        (error: unknown) => String(error),
      );
      const cut = { name: "a cut root secret", text: ROOT_SECRET.slice(0, 20) };
      expect(search([...configured, cut], [{ where: "the output", content: output }])).toEqual([]);
    }
  });

  it("control: a server that logs a secret, or stores it as its own hint, is found out", async () => {
    const { server, life } = await live(CARELESS);
    const finds = search(life.canaries, [...ofServer(server), ...ofClient(life), ...(await ofDatabase())]);
    const places = new Set(finds.map(({ where }) => where.replace(/^base.*/, "the files")));
    expect([...places]).toEqual(
      expect.arrayContaining(["stderr", "an answer", "the log of Postgres", "a dump", "the files"]),
    );
  });
});

/** While no connection can be made or kept, then while no query can be answered. */
async function failStorage(options: {
  readonly url: string;
  readonly proxy: TcpProxy;
  readonly admin: Clients;
  readonly work: () => Promise<void>;
}): Promise<void> {
  const { url, proxy, admin, work } = options;
  await proxy.refuse();
  proxy.reset();
  await work();
  await proxy.resume();
  await eventually(() => admin.keys.listKeys({ pageSize: 1 }));

  const sql = postgres(url, { max: 1 });
  await sql`alter table secret_version rename to hidden`;
  try {
    await work();
  } finally {
    await sql`alter table hidden rename to secret_version`;
    await sql.end();
  }
}

/** An issuer's keys in a file, and tokens of a user: good, expired, and for somebody else. */
async function makeUsers(folder: string) {
  const { publicKey, privateKey } = await generateKeyPair("ES256");
  const file = join(folder, "jwks.json");
  await writeFile(file, JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: "k1", alg: "ES256" }] }));
  const sign = (claims: { readonly audience: string; readonly expires: string }) =>
    new SignJWT({})
      .setProtectedHeader({ alg: "ES256", kid: "k1" })
      .setIssuer(ISSUER)
      .setSubject("canary-user")
      .setAudience(claims.audience)
      .setIssuedAt()
      .setExpirationTime(claims.expires)
      .sign(privateKey);
  const good = await sign({ audience: "claviger", expires: "10m" });
  const expired = await sign({ audience: "claviger", expires: "-10m" });
  const foreign = await sign({ audience: "somebody-else", expires: "10m" });
  return { file, tokens: { good, expired, foreign, unsigned: good.replace(/[^.]+$/, "AAAA") } };
}

function ofServer(server: ServerProcess): Place[] {
  return [
    { where: "stdout", content: server.stdout() },
    { where: "stderr", content: server.stderr() },
  ];
}

function ofClient({ errors, answers }: CanaryLife): Place[] {
  return [
    { where: "an error", content: errors.join("\n") },
    { where: "an answer", content: answers.join("\n") },
  ];
}

function ofFiles(folder: string): Place[] {
  return globSync("**/*", { cwd: folder }).flatMap((name) => {
    const file = join(folder, name);
    // A server that runs removes files of its own.
    if (statSync(file, { throwIfNoEntry: false })?.isFile() !== true) return [];
    return [{ where: file.split("/").slice(-3).join("/"), content: contentOf(file) }];
  });
}

function contentOf(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    if (existsSync(file)) throw error;
    return Buffer.alloc(0);
  }
}

/** By the `pg_dump` that came with the server; the binaries of npm have none. */
function dump(url: string): Place[] {
  const binaries = findPostgresBinaries() ?? "";
  const program = join(binaries, "pg_dump");
  if (!existsSync(program)) return [];
  const content = execFileSync(program, ["--dbname", url], { maxBuffer: 1 << 28 });
  expect(content.includes("COPY public.secret_version")).toBe(true);
  return [{ where: "a dump", content }];
}
