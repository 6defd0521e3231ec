import type { SystemCaller } from "../../access/caller.ts";
import type { Secret } from "../../keys/secret.ts";
import { createKey } from "../../manage/create-key.ts";
import type { ManageDeps } from "../../manage/deps.ts";
import { revokeKey } from "../../manage/revoke-key.ts";
import { listVerifiers } from "../../postgres/verifier-list.ts";
import { DAY_MS } from "../../system/clocks.ts";
import { monotonicMs } from "../../system/node.ts";
import { Outage } from "../observe/outage.ts";
import { Canary } from "./canary.ts";
import { acceptsAt, nameProcesses } from "./process-name.ts";

const SELF: SystemCaller = { kind: "system", address: "", requestId: "canary" };
const TTL_MS = DAY_MS;
const TIMEOUT_MS = 5000;

export interface OpenCanary {
  readonly canary: Canary;
  /** One round on every live node; logs what it finds, and never rejects. */
  round(): Promise<void>;
}

/** The canary inside a server: it manages keys as the operator, and verifies over the network as any agent does. */
export function openCanary(deps: ManageDeps): OpenCanary {
  let credential: { readonly secret: Secret; readonly untilMs: number } | undefined;

  async function mint(displayName: string, scopes: readonly string[]) {
    const command = { owner: "", displayName, environment: "live", scopes, ttlMs: TTL_MS, requestId: "" } as const;
    return createKey(deps, SELF, {
      ...command,
      labels: { canary: "true" },
      metadata: null,
      allowedCidrs: [],
      limits: null,
    });
  }

  /** The credential for verifying; replaced before it expires. */
  async function token(): Promise<string> {
    if (credential === undefined || credential.untilMs < monotonicMs()) {
      const { secret } = await mint("canary, verifying", ["claviger:verify"]);
      credential = { secret, untilMs: monotonicMs() + TTL_MS / 2 };
    }
    return credential.secret.reveal();
  }

  const outage = new Outage({
    ...{ log: deps.log, event: "canary" },
    failing: "the canary could not ask every node",
    well: "the canary asks every node again",
  });
  const canary = new Canary({
    async create() {
      const { view, secret } = await mint("canary", []);
      return { keyId: view.key.id, secret: secret.reveal() };
    },
    revoke: async (keyId) => void (await revokeKey(deps, SELF, { keyId, reason: "no_longer_used", note: "canary" })),
    isAccepted: async (node, secret) => acceptsAt(node, { token: await token(), secret, timeoutMs: TIMEOUT_MS }),
    monotonicMs,
  });

  return {
    canary,
    async round() {
      try {
        const rows = await deps.storage.read(listVerifiers);
        const nodes = nameProcesses(rows.filter((row) => !row.isCollected && row.silentMs < row.termMs));
        const { stillAccepting, undecided, revokeMs, failures } = await canary.round(nodes);
        const found = { event: "canary", revokeMs: Math.round(revokeMs), stillAccepting, undecided };
        if (stillAccepting.length > 0) deps.log.error(found, "a node accepts a key that was revoked");
        else deps.log.info(found, "canary");
        if (undecided.length === 0) outage.succeeded();
        else outage.failed(`not decided by ${[...failures].map(([node, why]) => `${node}: ${why}`).join(", ")}`);
      } catch (error) {
        outage.failed(error);
      }
    },
  };
}
