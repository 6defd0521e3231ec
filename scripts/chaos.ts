/** `npm run chaos -- --minutes N [--seed S] [--lease-ms D] [--on-database-loss deny|revocation-set] [--agents N]` */
import { parseArgs } from "node:util";
import { runChaos } from "../test/chaos/run-chaos.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "3" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    "lease-ms": { type: "string", default: "3000" },
    "on-database-loss": { type: "string", default: "deny" },
    agents: { type: "string", default: "16" },
  },
});
const seed = Number(values.seed);
console.log(`seed ${seed}`);
const report = await runChaos({
  ...{ seed, seconds: Number(values.minutes) * 60, nodes: 3, joining: 2, leaseMs: Number(values["lease-ms"]) },
  agents: Number(values.agents),
  onDatabaseLoss: values["on-database-loss"] === "revocation-set" ? "revocation-set" : "deny",
  onProgress: (line) => console.log(line),
});
console.log(JSON.stringify({ seed, ...report }, null, 2));
process.exit(report.violations.length > 0 || report.crashes.length > 0 || report.isVoidBecause.length > 0 ? 1 : 0);
