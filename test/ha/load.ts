import { Code, ConnectError } from "@connectrpc/connect";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import type { Clients } from "../../testkit/connect.ts";
import { eventually } from "../../testkit/eventually.ts";
import { makeKey } from "../rpc/make-key.ts";

const CALL = { timeoutMs: 5000 };
const VERIFIERS_PER_NODE = 2;
/** How long a revoked key is still asked for. */
const LINGER_MS = 1000;

export interface Load {
  /** Keys that a node called VALID in a call that began after RevokeKey had returned OK. */
  readonly violations: readonly string[];
  /** Calls that ended in an error other than `UNAVAILABLE` and a deadline. */
  readonly defects: readonly string[];
  readonly counts: { verified: number; revoked: number; failed: number };
  /** Resolves after the next revocation that begins from here on and is OK, and a VALID of each node. */
  works(): Promise<void>;
  stop(): Promise<void>;
}

interface Watched {
  readonly id: string;
  readonly secret: string;
  /** When RevokeKey returned OK, by `performance.now()`. */
  revokedAt: number;
}

/** Clients that verify on every node all the time, and one for each node that makes and revokes keys. */
export function startLoad(nodes: readonly Clients[]): Load {
  const violations: string[] = [];
  const defects: string[] = [];
  const counts = { verified: 0, revoked: 0, failed: 0 };
  const watched = new Set<Watched>();
  let isRunning = true;

  function note(error: unknown): void {
    counts.failed += 1;
    const { code, message } = ConnectError.from(error);
    if (code !== Code.Unavailable && code !== Code.DeadlineExceeded && code !== Code.Canceled) defects.push(message);
  }

  async function verify({ verifier }: Clients): Promise<void> {
    for (const key of watched) {
      const began = performance.now();
      if (began > key.revokedAt + LINGER_MS) watched.delete(key);
      const { verdict } = await verifier.verify({ secret: key.secret }, CALL);
      counts.verified += 1;
      if (verdict === Verdict.VALID && began > key.revokedAt) violations.push(key.id);
    }
    await new Promise((done) => setTimeout(done, 5));
  }

  async function revoke(clients: Clients): Promise<void> {
    const { id, secret } = await makeKey(clients, { owner: "load" });
    const key: Watched = { id, secret, revokedAt: Number.POSITIVE_INFINITY };
    watched.add(key);
    for (const { verifier } of nodes) await verifier.verify({ secret }, CALL);
    await eventually(() => clients.keys.revokeKey({ keyId: id }, CALL), { withinMs: 60_000, everyMs: 100 });
    key.revokedAt = performance.now();
    counts.revoked += 1;
  }

  async function repeat(work: () => Promise<void>): Promise<void> {
    while (isRunning) await work().catch(note);
  }

  const workers = nodes.flatMap((node) => [
    ...Array.from({ length: VERIFIERS_PER_NODE }, () => repeat(() => verify(node))),
    repeat(() => revoke(node)),
  ]);
  return {
    violations,
    defects,
    counts,
    async works() {
      const { revoked, verified } = counts;
      await eventually(
        () => {
          const isBack = counts.revoked > revoked + nodes.length && counts.verified > verified + 50;
          if (!isBack) throw new Error(`nothing works again: ${JSON.stringify(counts)}`);
        },
        { withinMs: 60_000 },
      );
    },
    async stop() {
      isRunning = false;
      await Promise.all(workers);
    },
  };
}
