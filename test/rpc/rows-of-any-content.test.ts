import { connect as connectHttp2 } from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { KeyManagement } from "#gen/claviger/v1/key_management_pb.js";
import { KeyVerifier, SyncRequestSchema, Verdict, VerifyRequestSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { startClaviger, type TestClaviger } from "../../testkit/claviger.ts";
import { createGrpcJsClient } from "../clients/grpc-js.ts";
import { type MadeKey, makeKey } from "./make-key.ts";

const lists = (levels: number): string => `{"m":${"[".repeat(levels - 1)}${"]".repeat(levels - 1)}}`;
const objects = (levels: number): string => `${'{"o":'.repeat(levels)}1${"}".repeat(levels)}`;

/** What an operator's SQL, or an older server, may have left in a row: each as an assignment. */
const CONTENTS: Readonly<Record<string, string>> = {
  "a prefix that protovalidate takes and ipaddr.js does not": `allowed_cidrs = '{"::1:/128"}'`,
  "a prefix that is none": `allowed_cidrs = '{"nonsense","10.0.0.0/8"}'`,
  "no prefix at all": "allowed_cidrs = '{NULL}'",
  "a scope that is missing": `scopes = '{NULL,"claviger:verify"}'`,
  "labels that are no text": `labels = '{"a":1,"b":null,"c":{"d":[]}}'`,
  "limits that are none": `limits = '{"requestsPerSecond":1e99,"burst":-1.5,"requestsPerDay":"many"}'`,
  "metadata 30 levels deep, of objects": `metadata = '${objects(30)}'`,
  "metadata 30 levels deep, of lists": `metadata = '${lists(30)}'`,
  "metadata 31 levels deep, of objects": `metadata = '${objects(31)}'`,
  "metadata 60 levels deep, of lists": `metadata = '${lists(60)}'`,
  "metadata 97 levels deep, of objects": `metadata = '${objects(97)}'`,
  "metadata 3,000 levels deep": `metadata = '${lists(3000)}'`,
  "metadata that is a list": "metadata = '[1]'",
  "metadata with a number that is none in JavaScript": `metadata = '{"a":1e999}'`,
  "an actor that is none": `created_by = '{"kind":"robot","subject":7}'`,
  "a name with control characters": "display_name = E'a\\x1b[2J\\u0085\\u202eb'",
  "an update in the year 200000": "update_time = '200000-01-01'",
  "an update before Christ": "update_time = '0001-01-01 BC'",
  "an update that never was": "update_time = 'infinity'",
};

const CLIENTS: Readonly<Record<string, (baseUrl: string) => Transport>> = {
  gRPC: (baseUrl) => createGrpcTransport({ baseUrl }),
  JSON: (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false }),
};

describe("a row of any content", () => {
  let claviger: TestClaviger;
  const odd = new Map<string, MadeKey>();
  let good: MadeKey;

  beforeAll(async () => {
    claviger = await startClaviger("embedded", { CLAVIGER_LEASE_MS: "60000" });
    const { admin, storage } = claviger;
    good = await makeKey(admin, { owner: "rows-good", scopes: ["claviger:verify"] });
    for (const [name, assignment] of Object.entries(CONTENTS)) {
      const made = await makeKey(admin, { owner: `rows-${odd.size}`, scopes: ["claviger:verify"] });
      odd.set(name, made);
      await storage.read((database) =>
        database.execute(sql`update api_key set ${sql.raw(assignment)} where id = ${made.id}`),
      );
    }
  });
  afterAll(() => claviger?.close());

  it.each(Object.keys(CLIENTS))("costs no other in a list, a batch or a verification, over %s", async (name) => {
    const transport = CLIENTS[name]?.(claviger.url);
    if (transport === undefined) throw new Error("no such client");
    const headers = { authorization: `Bearer ${claviger.adminToken}` };
    const keys = createClient(KeyManagement, transport);
    const verifier = createClient(KeyVerifier, transport);

    const listed = await keys.listKeys({ pageSize: 1000 }, { headers });
    const ids = new Set(listed.keys.map(({ id }) => id));
    for (const [content, { id }] of odd) expect([content, ids.has(id)]).toEqual([content, true]);
    expect(ids).toContain(good.id);

    // Twice: read from storage, then from memory.
    for (const _ of [1, 2]) {
      const secrets = [...odd.values(), good].map(({ secret }) => ({ secret, clientIp: "203.0.113.7" }));
      const { responses } = await verifier.batchVerify({ requests: secrets }, { headers });
      expect(responses).toHaveLength(secrets.length);
      expect(responses.at(-1)?.verdict).toBe(Verdict.VALID);
      for (const { secret } of odd.values()) await verifier.verify({ secret }, { headers });
    }
    for (const { id } of odd.values()) expect((await keys.getKey({ keyId: id }, { headers })).key?.id).toBe(id);
  });

  it("with an end that is no date is not decided about, and costs no other in the same look-up", async () => {
    const { admin, storage } = claviger;
    const columns = ["expire_time", "retire_time"];
    const made = await Promise.all(columns.map((column) => makeKey(admin, { owner: `rows-${column}` })));
    for (const [at, column] of columns.entries()) {
      const change = sql`update secret_version set ${sql.raw(column)} = 'infinity' where key_id = ${made[at]?.id}`;
      await storage.read((database) => database.execute(change));
    }
    const fresh = await makeKey(admin, { owner: "rows-fresh" });
    const asked = [...made, fresh].map(({ secret }) => admin.verifier.verify({ secret }).catch(ConnectError.from));
    const [expires, retires, other] = await Promise.all(asked);
    expect([expires, retires]).toMatchObject([{ code: Code.Internal }, { code: Code.Internal }]);
    expect(other).toMatchObject({ verdict: Verdict.VALID });
    const { keys } = await admin.keys.listKeys({ pageSize: 1000 });
    expect(keys.map(({ id }) => id)).toEqual(expect.arrayContaining(made.map(({ id }) => id)));
  });

  it("leaves out metadata that clients could not read, and shows all else of the key", async () => {
    const { secret } = odd.get("metadata 97 levels deep, of objects") ?? good;
    const { key, verdict } = await claviger.admin.verifier.verify({ secret });
    expect(verdict).toBe(Verdict.VALID);
    expect(key).toMatchObject({ owner: expect.stringMatching(/^rows-/), scopes: ["claviger:verify"] });
    expect(key?.metadata).toBeUndefined();
  });

  it("with metadata as deep as it is shown can be read by grpc-js, too, in a list and a verification", async () => {
    const client = createGrpcJsClient({ address: new URL(claviger.url).host, token: claviger.adminToken });
    try {
      const { message } = await client.call("KeyManagement/ListKeys", { page_size: 1000 });
      expect((message.keys as unknown[]).length).toBeGreaterThan(odd.size);
      for (const name of ["metadata 30 levels deep, of objects", "metadata 30 levels deep, of lists"]) {
        const { secret } = odd.get(name) ?? good;
        const requests = [{ secret }, { secret: good.secret }];
        const { message } = await client.call("KeyVerifier/BatchVerify", { requests });
        expect(message.responses).toMatchObject([{ key: { metadata: expect.anything() } }, {}]);
        expect((await claviger.admin.verifier.verify({ secret })).key?.metadata).toBeDefined();
      }
    } finally {
      client.close();
    }
  });

  it("with a prefix that cannot be read allows no address, for the key and for its caller, and the server goes on", async () => {
    for (const name of ["a prefix that protovalidate takes and ipaddr.js does not", "no prefix at all"]) {
      const { secret } = odd.get(name) ?? good;
      for (const clientIp of ["", "::1", "127.0.0.1", "0.0.0.1"]) {
        const { verdict } = await claviger.admin.verifier.verify({ secret, clientIp });
        expect(verdict).toBe(Verdict.ADDRESS_DENIED);
      }
      // As the credential, past the router: the exception left the listener on the second call, from memory.
      for (const _ of [1, 2, 3]) expect(await callWith(secret)).toBe("16");
    }
    expect(await callWith(good.secret)).toBe("0");
  });

  it("is a credential that works, or is refused, whatever it is; the server goes on", async () => {
    for (const [name, { secret }] of odd) {
      for (const _ of [1, 2]) expect([name, await callWith(secret)]).toEqual([name, expect.stringMatching(/^(0|16)$/)]);
    }
  });

  it("does not break a stream of Sync that asks about it", async () => {
    const secrets = [...odd.values(), good].map(({ secret }) => secret);
    async function* asks() {
      for (const [at, secret] of secrets.entries()) {
        const request = { secret, clientIp: "203.0.113.7" };
        yield create(SyncRequestSchema, { message: { case: "ask", value: { id: BigInt(at), request } } });
      }
    }
    const answered: unknown[] = [];
    for await (const { message } of claviger.admin.verifier.sync(asks())) {
      if (message.case === "answer") answered.push(message.value.result.case);
    }
    expect(answered).toEqual(secrets.map(() => "response"));
  });

  it("can be changed, rotated and revoked, and the answers can be read", async () => {
    const { admin } = claviger;
    for (const [name, { id }] of odd) {
      const update = { key: { id, disabled: true }, updateMask: { paths: ["disabled"] } };
      const { key } = await admin.keys.updateKey(update);
      expect([name, key?.disabled]).toEqual([name, true]);
      const revoked = await admin.keys.revokeKey({ keyId: id });
      expect([name, revoked.key?.id]).toEqual([name, id]);
    }
    const { events } = await admin.keys.listAuditEvents({ startTime: timestampFromMs(0), pageSize: 1000 });
    expect(events.length).toBeGreaterThan(3 * odd.size);
  });

  /** The gRPC status of a plain `Verify` with that credential. */
  function callWith(token: string): Promise<string> {
    const session = connectHttp2(claviger.url);
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    session.on("error", reject);
    const stream = session.request({
      ":method": "POST",
      ":path": "/claviger.v1.KeyVerifier/Verify",
      "content-type": "application/grpc",
      te: "trailers",
      authorization: `Bearer ${token}`,
    });
    const read = (headers: Readonly<Record<string, unknown>>) => {
      if (headers["grpc-status"] !== undefined) resolve(String(headers["grpc-status"]));
    };
    stream.on("response", read).on("trailers", read).on("error", reject).resume();
    const message = toBinary(VerifyRequestSchema, create(VerifyRequestSchema, { secret: "x" }));
    stream.end(Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]));
    return promise.finally(() => session.destroy());
  }
});
