import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect } from "vitest";
import { eventually } from "../../testkit/eventually.ts";
import type { Node } from "./cluster.ts";

const DAY_MS = 86_400_000;

async function metricsOf({ url }: Node): Promise<string> {
  return (await fetch(`${url}/metrics`)).text();
}

/** What the ledger says of each key, once every node has sent everything. */
export async function settledUsage(nodes: readonly Node[], keyIds: readonly string[]): Promise<number[]> {
  await eventually(
    async () => {
      for (const node of nodes) {
        expect(/^claviger_usage_lag_seconds (\S+)$/m.exec(await metricsOf(node))?.[1]).toBe("0");
      }
    },
    { withinMs: 15_000 },
  );
  const [node] = nodes;
  if (node === undefined) return [];
  const span = { startTime: timestampFromMs(Date.now() - DAY_MS), endTime: timestampFromMs(Date.now() + DAY_MS) };
  const { keys } = node.clients;
  return Promise.all(keyIds.map(async (keyId) => Number((await keys.queryUsage({ keyId, ...span })).total)));
}

/** Verdicts that the nodes have decided, since their starts. */
export async function decidedByNodes(nodes: readonly Node[]): Promise<number> {
  const texts = await Promise.all(nodes.map(metricsOf));
  const counts = texts.flatMap((text) => [...text.matchAll(/^claviger_verifications_total\{.*\} (\d+)$/gm)]);
  return sum(counts.map(([, count]) => Number(count)));
}

export function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}
