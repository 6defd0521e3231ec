import { globSync } from "node:fs";
import { fileURLToPath } from "node:url";

/**
 * Tests that take minutes: chaos on whole clusters, controls, and searches by chance. CI runs them, and so does `npm test` with
 * `CLAVIGER_TEST_LONG=1` or with a part of their names. Without them `npm test` takes half of the time.
 */
export const LONG_TESTS: readonly string[] = [
  "test/clients/broken-connections.test.ts",
  "test/clients/hostile-clients.test.ts",
  "test/cluster/agent-outages.test.ts",
  "test/cluster/agent-usage.test.ts",
  "test/cluster/agents.test.ts",
  "test/cluster/chaos.test.ts",
  "test/cluster/database-loss.test.ts",
  "test/cluster/last-resort.test.ts",
  "test/cluster/log-output.test.ts",
  "test/cluster/revocation-bounds.test.ts",
  "test/cluster/usage-accounting.test.ts",
  "test/ha/*.test.ts",
  "test/http2/byte-fuzz.test.ts",
  "test/http2/conformance.test.ts",
  "test/http2/differential.test.ts",
  "test/packages/dockerfile.test.ts",
  "test/packages/postgres-backup.test.ts",
  "test/repo/leak-canary.test.ts",
  "test/repo/pack.test.ts",
  "test/repo/supported-nodes.test.ts",
  "test/sdk/flooded-address.test.ts",
  "test/sdk/page-programs.test.ts",
  "test/simulation/promise-widely.test.ts",
  "test/simulation/rules.test.ts",
];

/** The existing files of that list. */
export function findLongTests(): string[] {
  return globSync([...LONG_TESTS], { cwd: fileURLToPath(new URL("..", import.meta.url)) }).sort();
}
