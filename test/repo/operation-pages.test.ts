import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Redis } from "ioredis";
import postgres from "postgres";
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, it } from "vitest";
import { TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { createTestDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { freePort } from "../../testkit/free-port.ts";
import { startOidcIssuer } from "../../testkit/oidc-issuer.ts";
import { copyRepository, type RepositoryCopy } from "../../testkit/repository-copy.ts";
import { type ServerProcess, startServer } from "../../testkit/server-process.ts";
import { followBlocks, SERVE_FOR_A_MOMENT } from "./follow-blocks.ts";
import { allBlocksOf, type Block, blocksOf, readPage, type Substitution } from "./pages.ts";
import { openTerminal, type Terminal } from "./terminal.ts";

const SERVE = "./bin/claviger.js serve\n";

let clone: RepositoryCopy;

beforeAll(async () => {
  clone = await copyRepository();
});
afterAll(() => clone.remove());

/** The blocks of a whole page. */
function pageBlocks(path: string, substitutions: readonly Substitution[] = []): Block[] {
  return allBlocksOf(readPage(clone.folder, path), substitutions);
}

describeWithPostgres("management and operation, as their pages have it", () => {
  let database: TestDatabase;
  let settings: Record<string, string>;
  let terminal: Terminal;
  let server: ServerProcess | undefined;

  beforeAll(async () => {
    database = await createTestDatabase();
    settings = { DATABASE_URL: database.url, CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET };
  });
  afterAll(() => database.drop());

  beforeEach(async () => {
    const port = await freePort();
    const env = { ...settings, CLAVIGER_LISTEN: `127.0.0.1:${port}`, CLAVIGER_URL: `http://127.0.0.1:${port}` };
    terminal = await openTerminal(clone.folder, env);
    const { secret } = JSON.parse(await terminal.paste("./bin/claviger.js bootstrap --json"));
    await terminal.paste(`export CLAVIGER_TOKEN=${secret}`);
  });
  afterEach(async () => {
    await server?.stop();
    server = undefined;
    await terminal[Symbol.asyncDispose]();
  });

  /** Starts the server that the terminal calls. */
  async function serve(env: Record<string, string> = {}): Promise<void> {
    const CLAVIGER_LISTEN = await terminal.paste('printf %s "$CLAVIGER_LISTEN"');
    server = await startServer({ cwd: clone.folder, env: { ...settings, CLAVIGER_LISTEN, ...env } });
  }

  /** Runs a block that ends with `serve`: the server is not the terminal's, but has what the block sets `variable` to. */
  async function serveWith(variable: string, block: Block | undefined): Promise<void> {
    await serve({ [variable]: await terminal.paste(block?.text.replace(SERVE, `printf %s "$${variable}"\n`) ?? "") });
  }

  it("users of an issuer manage their keys with its tokens, and its administrators those of all", async () => {
    const issuer = await startOidcIssuer();
    try {
      const [start, use] = pageBlocks("docs/manage/users.md", [
        { find: "https://login.example.com", replace: issuer.url },
      ]);
      await serveWith("CLAVIGER_JWT_ISSUERS", start);
      const audience = "https://keys.example.com";
      await writeFile(join(clone.folder, "token.jwt"), await issuer.issue("ada", { audience }));
      expect(await terminal.paste(use?.text ?? "")).toMatch(/secret.*KEY ID.*my agent +example:ada/is);
      const claims = { roles: ["keys-admin"] };
      await writeFile(join(clone.folder, "token.jwt"), await issuer.issue("root", { audience, claims }));
      expect(await terminal.paste(use?.text ?? "")).toMatch(/example:root.*example:ada/s);
    } finally {
      await issuer.stop();
    }
  });

  it("the feature is switched on for some and off for all, and off keeps agents going and lets keys be revoked", async () => {
    const [start, use] = blocksOf(readPage(clone.folder, "docs/manage/feature-flag.md"), "A file of rules");
    await serveWith("CLAVIGER_FLAGS_FILE", start);
    expect(await terminal.paste(use?.text ?? "")).toMatch(/^VALID:.*revoked/s);
    await eventually(async () => {
      const { code, stderr } = await terminal.run("./bin/claviger.js keys create --owner alice --name late");
      expect(stderr).toContain("enable-api-key-management");
      expect(code).toBe(3);
    });
  });

  it("a provider module of the page starts", async () => {
    const provider = blocksOf(readPage(clone.folder, "docs/manage/feature-flag.md"), "Another source of flags", [
      { find: "npm install @openfeature/env-var-provider\n", replace: "" },
      { find: SERVE, replace: `${SERVE_FOR_A_MOMENT}\n` },
    ]);
    expect(provider.map(({ language }) => language)).toEqual(["js", "sh"]);
    await followBlocks(terminal, clone.folder, provider);
  });

  it("the audit log is listed, and verified against a head that was kept", async () => {
    await serve();
    await terminal.paste("./bin/claviger.js keys create --owner alice --name audited");
    const printed = await followBlocks(terminal, clone.folder, pageBlocks("docs/manage/audit-log.md"));
    expect(printed).toMatch(/key\.created.*alice.*the audit log is intact/s);
  });

  it("a key is created, rotated, switched off and on, and revoked; its old secret is retired", async () => {
    await serve();
    const blocks = pageBlocks("docs/manage/keys.md").filter(({ language }) => language === "sh");
    const printed = await followBlocks(terminal, clone.folder, blocks);
    expect(printed).toMatch(/retired.*disabled.*VALID:.*revoked/s);
  });

  it("the holder of a secret reports it as leaked, and its key is revoked", async () => {
    await serve();
    const [, report] = pageBlocks("docs/manage/leaked-secrets.md");
    await terminal.paste(report?.text ?? "");
    expect(await terminal.run('printf %s "$SECRET" | ./bin/claviger.js verify')).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/^REVOKED:/),
    });
  });

  it("a key with limits is made, and its usage shown", async () => {
    await serve({ REDIS_URL: inject("redis")?.url ?? "" });
    const printed = await followBlocks(terminal, clone.folder, pageBlocks("docs/manage/usage-and-limits.md"));
    expect(printed).toMatch(/(0 in all.*){3}50 a second, 50 at once.*200000 a day/s);
  });

  it("a key without a scope of claviger: is verified, and opens nothing in Claviger", async () => {
    await serve();
    const printed = await followBlocks(terminal, clone.folder, pageBlocks("docs/security.md"));
    expect(printed).toMatch(/^VALID:.*refused with 3$/ms);
  });

  it("a server uses Redis as a user with the few rights of the page", async () => {
    const url = new URL(inject("redis")?.url ?? "");
    const username = `claviger-${randomBytes(6).toString("hex")}`;
    const operator = new Redis(url.href);
    try {
      const [use, user] = pageBlocks("docs/operate/redis.md", [
        {
          find: "redis://127.0.0.1:6379",
          replace: Object.assign(new URL(url), { username, password: "password" }).href,
        },
        { find: "SETUSER claviger on", replace: `SETUSER ${username} on` },
      ]);
      const [command = "", ...words] = (user?.text ?? "").trim().split(/\s+/);
      await operator.call(command, ...words);
      await serveWith("REDIS_URL", use);
      await eventually(async () => {
        const metrics = await terminal.paste('curl -sS "$CLAVIGER_URL/metrics"');
        expect(metrics.match(/^claviger_redis_up\{.*\} 1$/gm)).toHaveLength(3);
      });
    } finally {
      await operator.call("ACL", "DELUSER", username);
      operator.disconnect();
    }
  });

  it("the nodes are listed, the canary finds that they obey, and the metrics say that a lease is held", async () => {
    await serve();
    const printed = await followBlocks(terminal, clone.folder, pageBlocks("docs/operate/monitoring.md"));
    expect(printed).toMatch(
      /http:\/\/127\.0\.0\.1:\d+ +live.*(every node obeys.*){2}claviger_lease_state\{state="leased"\} 1/s,
    );
  });

  it("migrations run as one role, and the server as one that can change neither schema nor audit log", async () => {
    const adminUrl = new URL(inject("postgres")?.adminUrl ?? "");
    const suffix = randomBytes(6).toString("hex");
    const [migrator, service, name] = [`claviger_migrate_${suffix}`, `claviger_serve_${suffix}`, `claviger_${suffix}`];
    const urlOf = (user: string, password: string) => {
      const url = new URL(adminUrl);
      return Object.assign(url, { username: user, password, pathname: `/${name}` }).href;
    };
    const serviceUrl = urlOf(service, "change-me-too");
    const [roles, ...commands] = pageBlocks("docs/operate/roles.md", [
      // Migrating the template of all test databases has made it.
      { find: "create role claviger_app nologin;\n", replace: "" },
      {
        find: "postgres://claviger_serve:change-me-too@127.0.0.1:5432/claviger",
        replace: serviceUrl,
      },
      {
        find: "postgres://claviger_migrate:change-me@127.0.0.1:5432/claviger",
        replace: urlOf(migrator, "change-me"),
      },
      { find: "create role claviger_migrate", replace: `create role ${migrator}` },
      { find: "create role claviger_serve", replace: `create role ${service}` },
      {
        find: "create database claviger owner claviger_migrate",
        replace: `create database ${name} owner ${migrator}`,
      },
      { find: SERVE, replace: `${SERVE_FOR_A_MOMENT}\n` },
    ]);
    const admin = postgres(adminUrl.href, { max: 1, onnotice: () => undefined });
    try {
      // One at a time: a database is not created in a transaction.
      for (const statement of roles?.text.split(";\n").filter((text) => text !== "") ?? [])
        await admin.unsafe(statement);
      expect(await followBlocks(terminal, clone.folder, commands)).toMatch(/^admin key: clv_live_/m);
      const serving = postgres(serviceUrl, { max: 1, onnotice: () => undefined });
      expect(await serving.unsafe("select action from audit_event")).toMatchObject([{ action: "key.created" }]);
      const forbidden = ["delete from audit_event", "update audit_event set id = ''", "create table mine (id int)"];
      for (const statement of forbidden) {
        await expect(serving.unsafe(statement), statement).rejects.toThrow("permission denied");
      }
      await serving.end();
    } finally {
      await admin.unsafe(`drop database if exists ${name} with (force)`);
      for (const role of [service, migrator]) await admin.unsafe(`drop role if exists ${role}`);
      await admin.end();
    }
  });
});
