import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { type Clients, connect } from "../../testkit/connect.ts";
import { startServer } from "../../testkit/server-process.ts";
import type { Subject } from "./subject.ts";

const DAY_MS = 86_400_000;
/** HTTP/2 connections to each server: 128 calls fit on one. */
const CONNECTIONS = 8;

/** Two Claviger servers, as `npm start` configures them. */
export async function clavigerSubject(env: Readonly<Record<string, string>>, token: string): Promise<Subject> {
  const servers = await Promise.all([startServer({ env }), startServer({ env })]);
  const clients = servers.map(({ url }) => Array.from({ length: CONNECTIONS }, () => connect(url, token)));
  const clientOf = (at: number) => clients[at % 2]?.[Math.floor(at / 2) % CONNECTIONS] as Clients;
  const { keys } = clientOf(1);
  return {
    name: "claviger",
    async create(quota) {
      const limits = quota === undefined ? {} : { limits: { requestsPerDay: quota } };
      const owner = `bench-${crypto.randomUUID()}`;
      const { key, secret } = await keys.createKey({ owner, displayName: "k", ...limits });
      return { id: key?.id ?? "", secret };
    },
    verify: (secret, at) =>
      clientOf(at)
        .verifier.verify({ secret, method: "/orders.v1.Orders/Place" })
        .then(
          ({ verdict }) => (verdict === Verdict.VALID ? "granted" : "refused"),
          () => "unanswered",
        ),
    remove: async (id) => void (await keys.revokeKey({ keyId: id })),
    disable: async (id) =>
      void (await keys.updateKey({ key: { id, disabled: true }, updateMask: { paths: ["disabled"] } })),
    async counted(id) {
      const span = { startTime: timestampFromMs(Date.now() - DAY_MS), endTime: timestampFromMs(Date.now() + DAY_MS) };
      const { total } = await keys.queryUsage({ keyId: id, ...span });
      const { key } = await keys.getKey({ keyId: id });
      return { uses: Number(total), lastUse: key?.lastUsedTime === undefined ? 0 : timestampMs(key.lastUsedTime) };
    },
    kill: async () => void (await servers[0]?.kill("SIGKILL")),
    async stop() {
      await Promise.all(servers.map((server) => server.stop()));
    },
  };
}
