import { once } from "node:events";
import { createServer, connect as open } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Caller } from "../../src/access/caller.ts";
import { createKey } from "../../src/manage/create-key.ts";
import type { ManageDeps } from "../../src/manage/deps.ts";
import { retireSecret } from "../../src/manage/retire-secret.ts";
import { revokeKey } from "../../src/manage/revoke-key.ts";
import { updateKey } from "../../src/manage/update-key.ts";
import { createAdminKey } from "../../src/server/bootstrap.ts";
import { createManageDeps } from "../../src/server/compose.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { createLogger } from "../../src/server/observe/logger.ts";
import { type OpenStorage, openStorage } from "../../src/server/open/open-storage.ts";
import { TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { createTestDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";

/** Holds answers back, so that what a client sends without waiting for them counts as one flight. */
const HOLD_MS = 20;

/** What clients sent between answers: one text for each flight of each connection. */
interface Recorder {
  readonly port: number;
  readonly flights: string[][];
  close(): void;
}

async function record(port: number, host: string): Promise<Recorder> {
  const flights: string[][] = [];
  const server = createServer((client) => {
    const own: string[] = [];
    flights.push(own);
    let isAnswered = true;
    const upstream = open({ port, host });
    client.on("data", (data) => {
      if (isAnswered) own.push("");
      isAnswered = false;
      own.push((own.pop() ?? "") + data.toString("latin1"));
      upstream.write(data);
    });
    upstream.on("data", async (data) => {
      await sleep(HOLD_MS);
      isAnswered = true;
      client.write(data);
    });
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const)
      one.on("error", () => undefined).on("close", () => other.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("a server on a port has a port");
  return { port: address.port, flights, close: () => server.close() };
}

describeWithPostgres("A change of a key", () => {
  let database: TestDatabase;
  let recorder: Recorder;
  let opened: OpenStorage;
  let deps: ManageDeps;
  let caller: Caller;

  beforeAll(async () => {
    database = await createTestDatabase();
    const url = new URL(database.url);
    recorder = await record(Number(url.port), url.hostname);
    url.port = String(recorder.port);
    const config = await loadConfig({ DATABASE_URL: url.href, CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET });
    opened = await openStorage(config);
    const settlement = { confirmed: 0, expired: 0, durationMs: 0, isInRevocationSet: false };
    const revoker = { announce: async () => undefined, settle: async () => settlement };
    deps = { ...createManageDeps({ config, opened, log: createLogger("silent", "json") }), revoker };
    const { keyId } = await createAdminKey(deps);
    const origin = { address: "", requestId: "r" };
    caller = { kind: "service", keyId, version: 1, owner: "claviger:admin", scopes: ["claviger:*"], ...origin };
  });
  afterAll(async () => {
    await opened?.close();
    recorder?.close();
    await database?.drop();
  });

  async function newKey(): Promise<string> {
    const { view } = await createKey(deps, caller, {
      ...{ owner: "alice", displayName: "k", environment: "live", scopes: [], labels: {}, metadata: null },
      ...{ allowedCidrs: [], limits: null, ttlMs: undefined, requestId: "" },
    });
    return view.key.id;
  }

  /** The flights of the transaction that `change` runs, warm and with the fewest of several attempts. */
  async function flightsOf(change: (keyId: string) => Promise<unknown>): Promise<string[]> {
    const attempts: string[][] = [];
    for (let attempt = 0; attempt < 4; attempt++) {
      const keyId = await newKey();
      for (const own of recorder.flights) own.length = 0;
      await change(keyId);
      const own = recorder.flights.find((flights) => flights.some((text) => text.includes("begin"))) ?? [];
      attempts.push(own.slice(0, own.findIndex((text) => text.includes("commit")) + 1));
    }
    const [, ...warm] = attempts;
    return warm.reduce((least, each) => (each.length < least.length ? each : least));
  }

  it.each<[string, (keyId: string) => Promise<unknown>]>([
    ["RevokeKey", (keyId) => revokeKey(deps, caller, { keyId, reason: null, note: "" })],
    ["UpdateKey", (keyId) => updateKey(deps, caller, { keyId, etag: "", update: { displayName: "other" } })],
  ])("takes two round trips for all of %s, the COMMIT included", async (_, change) => {
    const flights = await flightsOf(change);
    expect(flights.map((text) => [text.includes("begin"), text.includes("commit")])).toEqual([
      [true, false],
      [false, true],
    ]);
  });

  it("takes one more where it reads what it has locked", async () => {
    expect(await flightsOf((keyId) => retireSecret(deps, caller, { keyId, version: 1 }))).toHaveLength(3);
  });

  it("sends the names of its statements, which Postgres keeps, and not their texts", async () => {
    const sent = (await flightsOf((keyId) => revokeKey(deps, caller, { keyId, reason: null, note: "" }))).join("");
    expect(sent).toContain("lock_key_for_update");
    expect(sent).toContain("insert_event");
    expect(sent).not.toMatch(/api_key|audit_event/);
  });
});
