import { execFileSync } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { startClaviger, type TestClaviger } from "../../testkit/claviger.ts";
import { connect } from "../../testkit/connect.ts";
import { eventually } from "../../testkit/eventually.ts";
import { unprivilegedUser } from "../../testkit/postgres-binaries.ts";
import { type PostgresServer, startPostgresServer } from "../../testkit/postgres-server.ts";
import { type Refusal, refusalOf } from "../../testkit/refusal.ts";
import { runProgram } from "../../testkit/run-program.ts";
import { startServer } from "../../testkit/server-process.ts";
import { fillDisk, mountSmall, unmount } from "../../testkit/small-disk.ts";
import { makeKey } from "../rpc/make-key.ts";

const BIN = fileURLToPath(new URL("../../bin/claviger.js", import.meta.url));
const TABLES = ["api_key", "secret_version", "audit_event", "audit_pending", "invalidation", "done_request"];

/** The line of `claviger health` for a service that serves, but cannot make changes. */
const REASON =
  /^claviger\.v1\.KeyManagement: changes failed within the last minute: the disk of the database is full\. Free space .*\n$/;

/** What `claviger health` notes beside the statuses, and its exit code. */
async function healthOf(url: string): Promise<{ readonly code: number | null; readonly stderr: string }> {
  const { code, stderr } = await runProgram(process.execPath, [BIN, "health"], { env: { CLAVIGER_URL: url } });
  return { code, stderr };
}

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

  it("makes changes UNAVAILABLE with RetryInfo, never INTERNAL, and all is well once there is space", async () => {
    const { keys, verifier } = claviger.admin;
    const metadata = { text: "x".repeat(3000) };
    const made = [];
    for (let at = 0; at < 60; at++) made.push(await makeKey(claviger.admin, { owner: `full-${at % 10}`, metadata }));
    expect(await healthOf(claviger.url)).toEqual({ code: 0, stderr: "" });
    const empty = fillDisk(folder);
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
    expect(await healthOf(claviger.url)).toEqual({ code: 0, stderr: expect.stringMatching(REASON) });
    empty();
    await eventually(() => keys.createKey({ owner: "after", displayName: "k", metadata }));
    for (const { id } of made) await eventually(() => keys.revokeKey({ keyId: id }));
  }, 120_000);
});

const place = mountSmall(120);

describe.skipIf(place === undefined)("a full disk under the embedded database", () => {
  afterAll(() => unmount(place ?? ""));

  it("is named by the log and the health check, with what to do, while keys go on being verified", async () => {
    const disk = place ?? "";
    const folder = join(disk, "data");
    const server = await startServer({ env: { CLAVIGER_DATA_DIR: folder } });
    try {
      const { keys, verifier } = connect(server.url, (await readFile(join(folder, "admin-key"), "utf8")).trim());
      const create = () => {
        // Postgres compresses a text that repeats itself.
        const metadata = { text: randomBytes(1500).toString("hex") };
        return keys.createKey({ owner: `full-${randomUUID()}`, displayName: "k", metadata }, { timeoutMs: 5000 });
      };
      const { secret } = await create();
      expect(await healthOf(server.url)).toEqual({ code: 0, stderr: "" });
      expect(server.stderr()).not.toContain("storage.away");
      const empty = fillDisk(disk);
      await eventually(async () => expect(await refusalOf(create())).toMatchObject({ reason: "STORAGE_UNAVAILABLE" }));
      expect((await verifier.verify({ secret })).verdict).toBe(Verdict.VALID);
      expect(await healthOf(server.url)).toEqual({ code: 0, stderr: expect.stringMatching(REASON) });
      expect(`${server.stdout()}${server.stderr()}`).toMatch(
        /"event":"storage\.away".*the disk of the database is full\. Free space on it or enlarge it.*No space left on device/,
      );
      empty();
      await eventually(create);
    } finally {
      await server.stop();
    }
  }, 120_000);
});
