import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inject, onTestFinished } from "vitest";
import type { Mutation } from "../../testkit/mutation.ts";
import { type ServerProcess, startServer } from "../../testkit/server-process.ts";

export interface OwnServerOptions {
  readonly policy?: object;
  readonly mutations?: readonly Mutation[];
  /** Default `silent`. */
  readonly logLevel?: string;
  /** As for `startServer`. */
  readonly hasDefects?: boolean;
}

export interface OwnServer extends ServerProcess {
  /** An administrator's secret. */
  readonly token: string;
}

/** Starts a server process on an embedded database of its own; both go with the test. */
export async function startOwnServer(options: OwnServerOptions = {}): Promise<OwnServer> {
  const { policy = {}, mutations = [], logLevel = "silent", hasDefects = false } = options;
  const folder = await mkdtemp(join(tmpdir(), "claviger-"));
  await cp(inject("embedded").template, join(folder, "database"), { recursive: true });
  const settings = { CLAVIGER_DATA_DIR: folder, CLAVIGER_LOG_LEVEL: logLevel };
  const server = await startServer({
    env: { ...settings, CLAVIGER_POLICY: JSON.stringify(policy) },
    mutate: mutations,
    hasDefects,
  });
  onTestFinished(async () => {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  });
  return { ...server, token: (await readFile(join(folder, "admin-key"), "utf8")).trim() };
}
