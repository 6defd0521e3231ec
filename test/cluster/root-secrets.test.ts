import { afterEach, beforeEach, expect, it } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { bootstrapAdmin } from "../../src/server/bootstrap.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { connect } from "../../testkit/claviger.ts";
import { createTestDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { startServer } from "../../testkit/server-process.ts";

const OLD = Buffer.alloc(32, 1).toString("base64");
const NEW = Buffer.alloc(32, 2).toString("base64");

describeWithPostgres("rotating the root secrets", () => {
  let database: TestDatabase;
  let token: string;
  const settings = (roots: readonly string[]) => ({
    DATABASE_URL: database.url,
    CLAVIGER_ROOT_SECRETS: roots.join(","),
    CLAVIGER_LOG_LEVEL: "silent",
  });

  beforeEach(async () => {
    database = await createTestDatabase();
    token = (await bootstrapAdmin(await loadConfig(settings([OLD])))).secret.reveal();
  });
  afterEach(() => database.drop());

  /** Mints on a server that has the new root first, and verifies on one that knows only the old. */
  async function mintBesideOldServer(mutations: readonly Mutation[]): Promise<Verdict> {
    const behind = await startServer({ env: settings([OLD]) });
    const ahead = await startServer({ env: settings([NEW, OLD]), mutate: mutations });
    try {
      const { secret } = await connect(ahead.url, token).keys.createKey({ owner: "roots", displayName: "k" });
      return (await connect(behind.url, token).verifier.verify({ secret })).verdict;
    } finally {
      await Promise.all([behind.stop(), ahead.stop()]);
    }
  }

  it("mints what every running server can verify, though one has the new root first too early", async () => {
    expect(await mintBesideOldServer([])).toBe(Verdict.VALID);
  });

  it("control: minting under the newest root regardless makes good keys unknown on servers that lack it", async () => {
    const newestRegardless = {
      file: "src/keys/keyring.ts",
      find: "this.#roots.find((own) => otherNodes.every((known) => known.includes(own.id))) ?? this.#roots[0]",
      replace: "otherNodes.length < 0 ? this.#roots[0] : this.#roots[0]",
    };
    expect(await mintBesideOldServer([newestRegardless])).toBe(Verdict.UNKNOWN);
  });

  it("lets the old root go only when no live secret was minted under it", async () => {
    const refused = startServer({ env: settings([NEW]) });
    await expect(refused).rejects.toThrow(
      /CLAVIGER_ROOT_SECRETS lacks a root secret under which live secrets were minted: 1 of them/,
    );

    const both = await startServer({ env: settings([NEW, OLD]) });
    const { keys } = connect(both.url, token);
    const [admin] = (await keys.listKeys({})).keys;
    const { secret: rotated } = await keys.rotateKey({ keyId: admin?.id ?? "", gracePeriod: {} });
    await both.stop();

    const newOnly = await startServer({ env: settings([NEW]) });
    const { verdict } = await connect(newOnly.url, rotated).verifier.verify({ secret: rotated });
    await newOnly.stop();
    expect(verdict).toBe(Verdict.VALID);
  });
});
