import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inject } from "vitest";
import type { Clients } from "../../testkit/connect.ts";
import { connect } from "../../testkit/connect.ts";
import { startServer } from "../../testkit/server-process.ts";

export interface GatewayServer {
  readonly url: string;
  readonly admin: Clients;
  readonly adminToken: string;
  /** All that the process has written. */
  output(): string;
  writePolicies(text: string): Promise<void>;
  close(): Promise<void>;
}

export const POLICIES = JSON.stringify({
  "orders-read": { scopes: ["orders:read"] },
  public: { anonymous: true },
});

/** A server on the embedded database with a policies file. */
export async function startGatewayServer(env: Readonly<Record<string, string>> = {}): Promise<GatewayServer> {
  const folder = await mkdtemp(join(tmpdir(), "claviger-gateways-"));
  const data = join(folder, "data");
  await cp(inject("embedded").template, join(data, "database"), { recursive: true });
  const file = join(folder, "policies.json");
  const writePolicies = (text: string) => writeFile(file, text);
  await writePolicies(POLICIES);
  const server = await startServer({
    env: {
      ...{ CLAVIGER_DATA_DIR: data, CLAVIGER_LOG_LEVEL: "debug", CLAVIGER_AUTHZ_POLICIES: file },
      ...{ CLAVIGER_VERIFY_ACCESS: "open", ...env },
    },
  });
  const adminToken = (await readFile(join(data, "admin-key"), "utf8")).trim();
  const url = `http://127.0.0.1:${server.port}`;
  return {
    ...{ url, adminToken, writePolicies },
    admin: connect(url, adminToken),
    output: () => server.stderr(),
    async close() {
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
