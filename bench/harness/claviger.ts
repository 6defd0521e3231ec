import { fileURLToPath } from "node:url";
import { create, toBinary } from "@bufbuild/protobuf";
import { VerifyRequestSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { bootstrapAdmin } from "../../src/server/bootstrap.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { openStorage } from "../../src/server/open/open-storage.ts";
import { connect } from "../../testkit/connect.ts";
import { startPostgresServer } from "../../testkit/postgres-server.ts";
import { startRedisServer } from "../../testkit/redis-server.ts";
import { makeKeys } from "./many-keys.ts";
import { type BenchServer, startProcess } from "./processes.ts";

const BIN = fileURLToPath(new URL("../../bin/claviger.js", import.meta.url));
/** Commits reach the disk, as in production. */
const DURABLE = { durable: true };

/** A Postgres, a Redis, keys in them, and a way to serve them; all gone with `stop`. */
export interface BenchPlace {
  readonly env: Readonly<Record<string, string>>;
  /** The token of an administrator. */
  readonly token: string;
  readonly secrets: readonly string[];
  /** The file with Postgres' log. */
  readonly postgresLog: string;
  /** A server with everything on; its log goes to where logs cost what they cost. */
  serve(env?: Readonly<Record<string, string>>, args?: readonly string[]): Promise<BenchServer>;
  stop(): Promise<void>;
}

/** `settings`: further ones of Postgres. */
export async function openPlace(keys: number, settings: Readonly<Record<string, string>> = {}): Promise<BenchPlace> {
  const [postgres, redis] = await Promise.all([startPostgresServer({ ...DURABLE, settings }), startRedisServer()]);
  const env = {
    ...{ DATABASE_URL: postgres.url, REDIS_URL: redis.url, CLAVIGER_LISTEN: "127.0.0.1:0" },
    CLAVIGER_ROOT_SECRETS: Buffer.alloc(32).toString("base64"),
  };
  const config = await loadConfig({ ...env, CLAVIGER_LOG_LEVEL: "silent" });
  const token = (await bootstrapAdmin(config)).secret.reveal();
  const opened = await openStorage(config);
  const secrets = await makeKeys(opened, keys);
  await opened.close();
  const servers: BenchServer[] = [];
  return {
    ...{ env, token, secrets, postgresLog: postgres.logFile },
    async serve(more = {}, args = []) {
      const server = await startProcess(BIN, ["serve", ...args], { ...env, ...more });
      servers.push(server);
      return server;
    },
    async stop() {
      await Promise.all(servers.map((server) => server.stop()));
      await Promise.all([postgres.stop(), redis.stop()]);
    },
  };
}

/** Verifies each secret once, so that the server keeps it. */
export async function warm(server: BenchServer, token: string, secrets: readonly string[]): Promise<void> {
  const { verifier } = connect(server.url, token);
  for (let from = 0; from < secrets.length; from += 100) {
    await verifier.batchVerify({ requests: secrets.slice(from, from + 100).map((secret) => ({ secret })) });
  }
}

/** The body of a gRPC `Verify`. */
export function frame(secret: string): Buffer {
  const request = create(VerifyRequestSchema, { secret, method: "/orders.v1.Orders/Place" });
  return framed(toBinary(VerifyRequestSchema, request));
}

/** A message of gRPC with its prefix. */
export function framed(message: Uint8Array): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}
