import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import postgres from "postgres";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { describeWithCompose, describeWithStandby } from "../../testkit/describe-with.ts";
import { findPostgresBinaries } from "../../testkit/postgres-binaries.ts";
import { type PostgresServer, startPostgresServer } from "../../testkit/postgres-server.ts";
import { REPOSITORY } from "../../testkit/repository-copy.ts";
import { outputOf } from "../../testkit/run-program.ts";
import { startServer } from "../../testkit/server-process.ts";

interface Service {
  readonly command?: readonly string[];
  readonly entrypoint?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly { readonly host_ip?: string; readonly published: string }[];
  readonly read_only?: boolean;
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
}

interface ComposeFile {
  readonly services: Readonly<Record<string, Service>>;
  readonly configs: { readonly roles: { readonly content: string } };
}

const BIN = join(REPOSITORY, "bin/claviger.js");

describeWithCompose("compose.yaml, as Compose's own loader reads it", () => {
  let file: ComposeFile;

  beforeAll(async () => {
    const loaded = await outputOf(inject("compose") ?? "", ["-format", "json", join(REPOSITORY, "compose.yaml")]);
    file = JSON.parse(loaded);
  });

  it("opens one port, on this machine alone, and gives the server a root that it cannot write to", () => {
    const ports = Object.values(file.services).flatMap(({ ports: own = [] }) => own);
    expect(ports).toMatchObject([{ host_ip: "127.0.0.1", published: "4640" }]);
    const own = ["claviger", "migrate", "root-secrets"].map((name) => file.services[name]?.read_only);
    expect(own).toEqual([true, true, true]);
  });

  it("starts the server once the schema is current and the root secrets are there", () => {
    expect(file.services.claviger?.depends_on).toMatchObject({
      migrate: { condition: "service_completed_successfully" },
      "root-secrets": { condition: "service_completed_successfully" },
      redis: { condition: "service_healthy" },
    });
    expect(file.services.migrate?.depends_on).toMatchObject({ postgres: { condition: "service_healthy" } });
  });

  describeWithStandby("its services as processes", () => {
    let server: PostgresServer;
    let volume: string;

    beforeAll(async () => {
      server = await startPostgresServer();
      volume = mkdtempSync(join(tmpdir(), "claviger-compose-"));
    });
    afterAll(async () => {
      await server.stop({ mode: "immediate" });
      rmSync(volume, { recursive: true, force: true });
    });

    /** With the addresses of this machine in place of those in the network of Compose. */
    const here = (text: string) =>
      text
        .replaceAll("/var/lib/claviger", volume)
        .replace("@postgres:5432", `@127.0.0.1:${server.port}`)
        .replace("redis://redis:6379", inject("redis")?.url ?? "");
    const environmentOf = (name: string) => {
      const entries = Object.entries(file.services[name]?.environment ?? {}).map(([key, value]) => [key, here(value)]);
      return Object.fromEntries(entries.filter(([, value]) => value !== ""));
    };

    it("one start makes roles, schema and root secrets, and then a key can be made and verified", async () => {
      const folder = findPostgresBinaries();
      await outputOf("sh", ["-c", file.configs.roles.content], {
        env: {
          ...environmentOf("postgres"),
          PATH: `${folder}${delimiter}${process.env.PATH}`,
          ...{ PGHOST: "127.0.0.1", PGPORT: String(server.port) },
        },
      });
      const { entrypoint = [], command = [] } = file.services["root-secrets"] ?? {};
      const [, ...args] = [...entrypoint, ...command].map(here);
      await outputOf(process.execPath, args);
      const secrets = readFileSync(join(volume, "root-secrets"), "utf8");
      expect(Buffer.from(secrets, "base64")).toHaveLength(32);
      expect(statSync(join(volume, "root-secrets")).mode & 0o777).toBe(0o600);
      await outputOf(process.execPath, args);
      expect(readFileSync(join(volume, "root-secrets"), "utf8")).toBe(secrets);

      await outputOf(process.execPath, [BIN, ...(file.services.migrate?.command ?? [])], {
        env: environmentOf("migrate"),
      });
      const env = environmentOf("claviger");
      const { secret } = JSON.parse(await outputOf(process.execPath, [BIN, "bootstrap", "--json"], { env }));
      const claviger = await startServer({ env });
      try {
        const client = { CLAVIGER_URL: claviger.url, CLAVIGER_TOKEN: secret };
        const made = await outputOf(process.execPath, [BIN, "keys", "create", "--name", "demo", "--quiet"], {
          env: client,
        });
        expect(await outputOf(process.execPath, [BIN, "verify"], { env: client, stdin: made })).toMatch(/^VALID:/);
      } finally {
        await claviger.stop();
      }
    });

    it("the server cannot change the audit log", async () => {
      const sql = postgres(environmentOf("claviger").DATABASE_URL ?? "", { max: 1, onnotice: () => undefined });
      try {
        await expect(sql`delete from audit_event`).rejects.toThrow("permission denied");
      } finally {
        await sql.end();
      }
    });
  });
});
