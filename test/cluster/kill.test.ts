import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { bootstrapAdmin } from "../../src/server/bootstrap.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { type Clients, connect, TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { createTestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { startServer } from "../../testkit/server-process.ts";

const WRITERS = 4;
const SECRETS_BEFORE_KILL = 60;

/** Creates a key and rotates it twice, again and again until a call fails; every secret received is kept. */
async function writeUntilCutOff(clients: Clients, writer: number, received: string[]): Promise<void> {
  try {
    for (let round = 0; ; round++) {
      const { key, secret } = await clients.keys.createKey({ owner: `kill-${writer}-${round}`, displayName: "k" });
      received.push(secret);
      for (let rotation = 0; rotation < 2; rotation++) {
        received.push((await clients.keys.rotateKey({ keyId: key?.id ?? "" })).secret);
      }
    }
  } catch {
    // The server is gone: what was received until now is what counts.
  }
}

async function killAndCount(env: Record<string, string>, token: () => Promise<string>) {
  const received: string[] = [];
  const killed = await startServer({ env });
  const admin = connect(killed.url, await token());
  const writers = Array.from({ length: WRITERS }, (_, writer) => writeUntilCutOff(admin, writer, received));
  while (received.length < SECRETS_BEFORE_KILL) await new Promise((resolve) => setTimeout(resolve, 5));
  await killed.kill("SIGKILL");
  await Promise.all(writers);

  const restarted = await startServer({ env });
  try {
    const { verifier } = connect(restarted.url, await token());
    const verdicts = [];
    for (let from = 0; from < received.length; from += 100) {
      const requests = received.slice(from, from + 100).map((secret) => ({ secret }));
      const { responses } = await verifier.batchVerify({ requests });
      verdicts.push(...responses.map((response) => response.verdict));
    }
    return { received: received.length, valid: verdicts.filter((verdict) => verdict === Verdict.VALID).length };
  } finally {
    await restarted.stop();
  }
}

describe("a server killed with SIGKILL among creates and rotates (PGlite)", () => {
  it("has kept every secret that a client received", async () => {
    const folder = await mkdtemp(join(tmpdir(), "claviger-kill-"));
    try {
      const env = { CLAVIGER_DATA_DIR: folder, CLAVIGER_LOG_LEVEL: "silent" };
      const token = async () => (await readFile(join(folder, "admin-key"), "utf8")).trim();
      const { received, valid } = await killAndCount(env, token);
      expect(received).toBeGreaterThanOrEqual(SECRETS_BEFORE_KILL);
      expect(valid).toBe(received);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describeWithPostgres("a server killed with SIGKILL among creates and rotates (Postgres)", () => {
  it("has kept every secret that a client received", async () => {
    const database = await createTestDatabase();
    try {
      const env = {
        DATABASE_URL: database.url,
        CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET,
        CLAVIGER_LOG_LEVEL: "silent",
      };
      const admin = (await bootstrapAdmin(await loadConfig(env))).secret.reveal();
      const { received, valid } = await killAndCount(env, async () => admin);
      expect(received).toBeGreaterThanOrEqual(SECRETS_BEFORE_KILL);
      expect(valid).toBe(received);
    } finally {
      await database.drop();
    }
  });
});
