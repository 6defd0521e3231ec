import { setTimeout as sleep } from "node:timers/promises";
import type { Chance } from "../../testkit/chance.ts";
import type { Cluster } from "./cluster.ts";
import type { Agent, Fleet } from "./fleet.ts";
import { type Nemesis, node, while_ } from "./nemeses.ts";

/** A third of the agents, one at least. */
function some({ agents }: Fleet, chance: Chance): readonly Agent[] {
  const count = Math.ceil(agents.length / 3);
  const first = chance.below(agents.length);
  return Array.from({ length: count }, (_, i) => agents[(first + i) % agents.length]).filter(
    (one) => one !== undefined,
  );
}

const linksOf = (agents: readonly Agent[]) => agents.flatMap(({ links }) => links);

/** Longer than a lease. */
const leaseAndMore = ({ leaseMs }: Cluster, chance: Chance) => sleep(leaseMs * (1.2 + chance.next()));

function cut(fleet: Fleet, how: "hang" | "reset" | "halfClose"): Nemesis {
  return {
    name: `agents: links ${how}`,
    async strike(cluster, chance) {
      const links = linksOf(some(fleet, chance));
      for (const link of links) link[how]();
      await while_(cluster, chance);
      for (const link of links) {
        await link.resume();
        if (how !== "reset") link.reset();
      }
    },
  };
}

/** Breaks agents, and nodes because of what agents have on them. */
export function agentNemeses(fleet: Fleet): readonly Nemesis[] {
  return [
    {
      name: "agents: SIGSTOP",
      async strike(cluster, chance) {
        const stopped = some(fleet, chance);
        for (const agent of stopped) agent.stop();
        await leaseAndMore(cluster, chance);
        for (const agent of stopped) agent.resume();
      },
    },
    {
      name: "agents: blocked event loop",
      async strike(_cluster, chance) {
        const blocked = some(fleet, chance);
        for (let i = 0; i < 6; i++) {
          for (const agent of blocked) agent.stop();
          await sleep(30 + chance.below(250));
          for (const agent of blocked) agent.resume();
          await sleep(30 + chance.below(100));
        }
      },
    },
    {
      name: "agents: SIGKILL",
      async strike(cluster, chance) {
        const [killed] = some(fleet, chance);
        await while_(cluster, chance);
        await killed?.replace();
      },
    },
    ...(["hang", "reset", "halfClose"] as const).map((how) => cut(fleet, how)),
    {
      // What is granted late lasts no longer; and of what changes then, nothing comes.
      name: "agents: links slow, then dead",
      async strike(cluster, chance) {
        const links = linksOf(some(fleet, chance));
        for (const link of links) link.latency(cluster.leaseMs * 0.35);
        await sleep(cluster.leaseMs * 2);
        for (const link of links) link.hang();
        await leaseAndMore(cluster, chance);
        for (const link of links) {
          await link.resume();
          link.reset();
        }
      },
    },
    {
      name: "agents: links cut off",
      async strike(cluster, chance) {
        const links = linksOf(some(fleet, chance));
        for (const link of links) {
          await link.refuse();
          link.reset();
        }
        await leaseAndMore(cluster, chance);
        for (const link of links) await link.resume();
      },
    },
    {
      name: "node: SIGKILL while it revokes",
      async strike(cluster, chance) {
        const killed = await revoking(cluster, chance);
        await killed.server.kill("SIGKILL");
        await while_(cluster, chance);
        await killed.restart();
      },
    },
  ];
}

async function revoking(cluster: Cluster, chance: Chance) {
  for (let i = 0; i < 1000; i++) {
    const found = chance.pick(cluster.nodes.filter(({ revoking }) => revoking > 0));
    if (found !== undefined) return found;
    await sleep(2);
  }
  return node(cluster, chance);
}
