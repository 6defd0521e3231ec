import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bootstrapAdmin } from "../../src/server/bootstrap.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { type ServerProcess, startServer } from "../../testkit/server-process.ts";

/** A server process of the caller's own. */
export interface RunningServer {
  readonly process: ServerProcess;
  /** `127.0.0.1:port` */
  readonly address: string;
  /** An administrator's credential. */
  readonly token: string;
  /** Stops the process and removes what it kept in a folder. Twice is fine. */
  close(): Promise<void>;
}

/** Starts a server on the embedded database, in a folder of its own. */
export async function startEmbedded(): Promise<RunningServer> {
  const folder = await mkdtemp(join(tmpdir(), "claviger-clients-"));
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    const server = await startServer({ env: { CLAVIGER_DATA_DIR: folder, CLAVIGER_LOG_LEVEL: "warn" } });
    const token = (await readFile(join(folder, "admin-key"), "utf8")).trim();
    return running(server, { token, remove });
  } catch (error) {
    await remove();
    throw error;
  }
}

export interface OnPostgresOptions {
  /** Where the server finds its database; may lead through a proxy. */
  readonly databaseUrl: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly mutate?: readonly Mutation[];
}

/** Starts a server on Postgres. */
export async function startOnPostgres({ databaseUrl, env, mutate = [] }: OnPostgresOptions): Promise<RunningServer> {
  const settings = {
    DATABASE_URL: databaseUrl,
    CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET,
    CLAVIGER_LOG_LEVEL: "debug",
    ...env,
  };
  const { secret } = await bootstrapAdmin(await loadConfig(settings));
  const server = await startServer({ env: settings, mutate });
  return running(server, { token: secret.reveal(), remove: async () => undefined });
}

function running(
  server: ServerProcess,
  { token, remove }: { readonly token: string; readonly remove: () => Promise<void> },
): RunningServer {
  const close = async () => {
    await server.stop();
    await remove();
  };
  return { process: server, address: `127.0.0.1:${server.port}`, token, close };
}
