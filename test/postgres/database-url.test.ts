import { chmodSync, chownSync, copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readRevision } from "../../src/postgres/revisions.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { openStorage } from "../../src/server/open/open-storage.ts";
import { TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { freePort } from "../../testkit/free-port.ts";
import { unprivilegedUser } from "../../testkit/postgres-binaries.ts";
import { type PostgresServer, startPostgresServer } from "../../testkit/postgres-server.ts";

const FIXTURES = fileURLToPath(new URL("../../testkit/fixtures/tls", import.meta.url));
const PASSWORD = "p@ss/w:o#r?d%&é 'x\\";
const ENCODED = encodeURIComponent(PASSWORD);

/** Who may come in, and how: `certified` with a certificate, `protected` with a password, `overtls` and `inclear` only as their names say. */
const RULES = `local all all trust
hostssl all certified all cert
host all protected all scram-sha-256
hostssl all overtls all trust
hostnossl all inclear all trust
host all postgres all trust
`;

describeWithPostgres("DATABASE_URL", () => {
  let folder: string;
  let server: PostgresServer;
  let withoutTls: PostgresServer;
  let closedPort: number;
  const warnings: string[] = [];
  const onWarning = ({ message }: Error) => void warnings.push(message);

  beforeAll(async () => {
    process.on("warning", onWarning);
    folder = mkdtempSync(join(tmpdir(), "claviger-tls-"));
    chmodSync(folder, 0o777);
    const user = unprivilegedUser();
    const place = (name: string) => {
      const file = join(folder, name);
      copyFileSync(join(FIXTURES, name), file);
      chmodSync(file, 0o600);
      if (user) chownSync(file, user.uid, user.gid);
      return file;
    };
    writeFileSync(join(folder, "pg_hba.conf"), RULES);
    [server, withoutTls] = await Promise.all([
      startPostgresServer({
        settings: {
          ...{ ssl: "on", ssl_ca_file: place("ca.crt"), ssl_cert_file: place("server.crt") },
          ...{ ssl_key_file: place("server.key"), hba_file: join(folder, "pg_hba.conf") },
          unix_socket_directories: folder,
        },
      }),
      startPostgresServer(),
    ]);
    closedPort = await freePort();
    const admin = postgres(server.url, { max: 1, onnotice: () => undefined });
    for (const role of ["certified", "overtls", "inclear"]) await admin.unsafe(`create role ${role} login superuser`);
    await admin.unsafe(`create role protected login superuser password '${PASSWORD.replaceAll("'", "''")}'`);
    await admin.end();
  });
  afterAll(async () => {
    process.off("warning", onWarning);
    await Promise.all([server?.stop(), withoutTls?.stop()]);
    rmSync(folder, { recursive: true, force: true });
  });

  const fill = (text: string) =>
    text
      .replaceAll("PORT", String(server.port))
      .replaceAll("PLAIN", String(withoutTls.port))
      .replaceAll("CLOSED", String(closedPort))
      .replaceAll("FOLDER", folder)
      .replaceAll("FIXTURES", FIXTURES);

  /** Opens storage as a command does, and asks something on each of its pools. */
  async function open(url: string, env: Readonly<Record<string, string>> = {}): Promise<void> {
    const filled = Object.fromEntries(Object.entries(env).map(([name, value]) => [name, fill(value)]));
    const settings = { ...filled, DATABASE_URL: fill(url), CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET };
    const opened = await openStorage(await loadConfig(settings));
    try {
      await Promise.all([opened.storage, opened.misses, opened.leases].map((storage) => storage.read(readRevision)));
    } finally {
      await opened.close();
    }
  }

  const CA = "sslrootcert=FIXTURES/ca.crt";
  const CERTIFICATE = "sslcert=FIXTURES/client.crt&sslkey=FIXTURES/client.key";

  describe("leads to Postgres over TLS", () => {
    it.each<[url: string, env?: Record<string, string>]>([
      ["postgres://overtls@127.0.0.1:PORT/postgres?sslmode=no-verify"],
      ["postgres://overtls@127.0.0.1:PORT/postgres?sslmode=require"],
      [`postgres://overtls@127.0.0.1:PORT/postgres?sslmode=require&${CA}`],
      [`postgres://overtls@127.0.0.1:PORT/postgres?sslmode=verify-ca&${CA}`],
      [`postgres://overtls@localhost:PORT/postgres?sslmode=verify-full&${CA}`],
      [`postgres://overtls@localhost:PORT/postgres?${CA}`],
      ["postgres://overtls@127.0.0.1:PORT/postgres?sslmode=prefer"],
      ["postgres://overtls@127.0.0.1:PORT/postgres?sslmode=allow"],
      [`postgres://certified@localhost:PORT/postgres?sslmode=verify-full&${CA}&${CERTIFICATE}`],
      ["postgres://overtls@localhost:PORT/postgres", { PGSSLMODE: "verify-full", PGSSLROOTCERT: "FIXTURES/ca.crt" }],
      ["postgres://overtls@127.0.0.1:PORT/postgres", { PGSSLMODE: "require" }],
      ["postgres://overtls@127.0.0.1:PORT/postgres?sslmode=require", { PGSSLMODE: "disable" }],
      [
        `postgres://certified@localhost:PORT/postgres?sslmode=require`,
        { PGSSLCERT: "FIXTURES/client.crt", PGSSLKEY: "FIXTURES/client.key" },
      ],
    ])("by %s, %j", async (url, env) => {
      await open(url, env);
    });
  });

  describe("leads to Postgres without TLS", () => {
    it.each([
      "postgres://inclear@127.0.0.1:PORT/postgres",
      "postgres://inclear@127.0.0.1:PORT/postgres?sslmode=disable",
      "postgres://inclear@127.0.0.1:PORT/postgres?sslmode=prefer",
      "postgres://postgres@127.0.0.1:PLAIN/postgres?sslmode=prefer",
      `postgres://protected:${ENCODED}@127.0.0.1:PORT/postgres`,
      "postgres://postgres@/postgres?host=FOLDER&port=PORT",
      "postgres:///postgres?host=FOLDER&port=PORT&user=postgres&sslmode=verify-full",
      "postgres://postgres@127.0.0.1:CLOSED,127.0.0.1:PLAIN/postgres",
    ])("by %s", async (url) => {
      await open(url);
    });
  });

  describe("is refused where it leads to a server", () => {
    it.each([
      ["without TLS", "postgres://postgres@127.0.0.1:PLAIN/postgres?sslmode=require", "does not support SSL"],
      ["of another name", `postgres://overtls@127.0.0.1:PORT/postgres?sslmode=verify-full&${CA}`, "does not match"],
      ["of an unknown authority", "postgres://overtls@localhost:PORT/postgres?sslmode=verify-full", "certificate"],
      ["of an unknown authority", "postgres://overtls@localhost:PORT/postgres?sslmode=verify-ca", "certificate"],
      [
        "of another authority",
        "postgres://overtls@localhost:PORT/postgres?sslrootcert=FIXTURES/client.crt",
        "certificate",
      ],
      ["with a file that is missing", "postgres://overtls@localhost:PORT/postgres?sslrootcert=/none.crt", "ENOENT"],
      [
        "that refuses the password",
        "postgres://protected:other@127.0.0.1:PORT/postgres",
        "password authentication failed",
      ],
    ])("%s: %s", async (_what, url, reason) => {
      await expect(open(url)).rejects.toThrow(reason);
    });
  });

  it("names what each of several hosts said, and none of its credentials", async () => {
    const url = `postgres://protected:${encodeURIComponent("swordfish")}@127.0.0.1:CLOSED,127.0.0.1:PORT/postgres`;
    const opening = open(url);
    await expect(opening).rejects.toThrow(
      new RegExp(`127.0.0.1:${closedPort}: .*ECONNREFUSED.*; 127.0.0.1:${server.port}: password authentication failed`),
    );
    await expect(opening).rejects.not.toThrow(/swordfish/);
  });

  it("that is not percent-encoded asks no name server, and shows no piece of itself", async () => {
    const opening = open("postgres://protected:hunter@fish/w:o@127.0.0.1:PORT/postgres");
    await expect(opening).rejects.toThrow(/^DATABASE_URL .*Percent-encode/);
    await expect(opening).rejects.not.toThrow(/hunter|fish|w:o/);
  });

  it("makes no library warn about it", () => {
    expect(warnings).toEqual([]);
  });
});
