import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startClaviger, type TestClaviger } from "../../testkit/claviger.ts";
import { eventually } from "../../testkit/eventually.ts";
import { unprivilegedUser } from "../../testkit/postgres-binaries.ts";
import { type PostgresServer, startPostgresServer } from "../../testkit/postgres-server.ts";
import { type Refusal, refusalOf } from "../../testkit/refusal.ts";
import { mountSmall, unmount } from "../../testkit/small-disk.ts";
import { makeKey } from "../rpc/make-key.ts";

const MIB = 1024 * 1024;
const TABLES = ["api_key", "secret_version", "audit_event", "audit_pending", "invalidation", "done_request"];

const small = mountSmall(16);
const name = small === undefined ? "a full disk (not run: it needs root, to mount a small one)" : "a full disk";

describe.skipIf(small === undefined)(name, () => {
  const folder = small ?? "";
  let server: PostgresServer;
  let claviger: TestClaviger;

  beforeAll(async () => {
    const space = join(folder, "space");
    const user = unprivilegedUser();
    execFileSync("install", ["-d", ...(user ? ["-o", String(user.uid), "-g", String(user.gid)] : []), space]);
    server = await startPostgresServer();
    claviger = await startClaviger("postgres", { DATABASE_URL: server.url });
    const sql = postgres(server.url, { max: 1 });
    await sql.unsafe(`create tablespace small location '${space}'`);
    for (const table of TABLES) await sql.unsafe(`alter table ${table} set tablespace small`);
    await sql.end();
  }, 60_000);
  afterAll(async () => {
    await claviger?.close();
    await server?.stop();
    if (folder !== "") unmount(folder);
  });

  function fill(): void {
    for (let size = 16 * MIB; size >= 4096; size = size / 2) {
      try {
        for (let part = 0; ; part++) writeFileSync(join(folder, `filler-${size}-${part}`), Buffer.alloc(size));
      } catch {
        // Full for that size.
      }
    }
  }

  it("makes changes UNAVAILABLE with RetryInfo, never INTERNAL, and all is well once there is space", async () => {
    const { keys, verifier } = claviger.admin;
    const metadata = { text: "x".repeat(3000) };
    const made = [];
    for (let at = 0; at < 60; at++) made.push(await makeKey(claviger.admin, { owner: `full-${at % 10}`, metadata }));
    fill();
    const refusals: Refusal[] = [];
    for (const { id } of made) {
      const calls = [
        keys.revokeKey({ keyId: id, note: "y".repeat(500) }),
        keys.createKey({ owner: "more", displayName: "k", metadata }),
      ];
      await Promise.all(calls.map((call) => call.catch(async () => refusals.push(await refusalOf(call)))));
    }
    expect(refusals.length).toBeGreaterThan(20);
    for (const refusal of refusals) {
      expect(refusal).toMatchObject({ code: "Unavailable", reason: "STORAGE_UNAVAILABLE", hasRetryInfo: true });
    }
    const [first] = made;
    // Reading goes on.
    expect((await verifier.verify({ secret: first?.secret ?? "" })).verdict).toBeGreaterThan(0);
    execFileSync("sh", ["-c", `rm -f ${folder}/filler-*`]);
    await eventually(() => keys.createKey({ owner: "after", displayName: "k", metadata }));
    for (const { id } of made) await eventually(() => keys.revokeKey({ keyId: id }));
  }, 120_000);
});
