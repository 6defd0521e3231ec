import { setTimeout as sleep } from "node:timers/promises";
import { Chance } from "../../testkit/chance.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { takeUnheard } from "../../testkit/unheard.ts";
import { agentNemeses } from "./agent-nemeses.ts";
import { type Cluster, type ClusterOptions, startCluster } from "./cluster.ts";
import { failoverNemeses } from "./failover-nemeses.ts";
import { Fleet } from "./fleet.ts";
import { History, type Violation } from "./history.ts";
import { hostMs } from "./host-clock.ts";
import { type Nemesis, NODE_NEMESES, SINGLE_NEMESES } from "./nemeses.ts";
import { Traffic } from "./traffic.ts";

export interface ChaosOptions extends ClusterOptions {
  readonly seed: number;
  /** How long at least. What is void by then goes on until it is not: a busy machine does less in the same time. */
  readonly seconds: number;
  /** For controls: end as soon as there is a violation. */
  readonly untilViolation?: true;
  /** Which nemeses strike, by name. Default all; each at least once. */
  readonly nemeses?: readonly string[];
  /** Nodes that come while it goes on. */
  readonly joining: number;
  /** Processes with a verifier of the SDK, and changes to their source. Default none. */
  readonly agents?: number;
  readonly mutateAgents?: readonly Mutation[];
  /** Takes what tells, at any time from then on, what was seen so far and what strikes now. */
  readonly onStart?: (look: () => ChaosProgress) => void;
}

export interface ChaosProgress {
  /** The nemesis that strikes. */
  readonly nemesis: string;
  readonly report: ChaosReport;
}

export interface ChaosReport {
  readonly counts: History["counts"];
  readonly agents: History["agents"];
  /** What ended an agent by itself, and what no code of a node or an agent handled. */
  readonly crashes: readonly string[];
  readonly violations: readonly Violation[];
  /** Strikes by nemesis, and narrowing calls that were under way during them. */
  readonly strikes: Readonly<Record<string, { strikes: number; overlapped: number }>>;
  readonly fillsDiscarded: number;
  readonly registrations: number;
  readonly nodes: number;
  readonly revocationMs: { readonly p50: number; readonly p99: number };
  /** Why the run shows nothing, if it does not. */
  readonly isVoidBecause: readonly string[];
}

const LEAST_LEASED = 100;
/** For how long a run goes on at most that is void when its time is over. */
const PATIENCE_MS = 90_000;

/** Breaks a cluster in every way in turn while clients use it, and says what they saw. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const chance = new Chance(options.seed);
  const cluster = await startCluster(options);
  const history = new History();
  const fleet = new Fleet({
    ...{ cluster, history, agents: options.agents ?? 0 },
    ...(options.mutateAgents === undefined ? {} : { mutate: options.mutateAgents }),
  });
  const traffic = new Traffic({ cluster, history, chance: new Chance(options.seed + 1), audience: fleet });
  const strikes: Record<string, { strikes: number; overlapped: number }> = {};
  const gauges = new Gauges(cluster);
  let joined = 0;
  const report = (): ChaosReport => {
    const sorted = [...history.barrierMs].sort((a, b) => a - b);
    const at = (share: number) => Math.round(sorted[Math.floor(sorted.length * share)] ?? 0);
    const seen = {
      counts: history.counts,
      agents: history.agents,
      crashes: fleet.crashes,
      violations: history.violations,
      strikes,
      fillsDiscarded: gauges.total("claviger_fills_discarded_total"),
      registrations: gauges.total("claviger_registrations_total"),
      nodes: gauges.processes,
      revocationMs: { p50: at(0.5), p99: at(0.99) },
    };
    const ofAgents = options.agents === undefined ? [] : whyVoidOfAgents(seen.agents);
    return { ...seen, isVoidBecause: [...whyVoid(seen), ...ofAgents] };
  };
  let striking = "none yet";
  options.onStart?.(() => ({ nemesis: striking, report: report() }));
  try {
    await fleet.start();
    await traffic.start();
    const end = hostMs() + options.seconds * 1000;
    const hasEnded = () => {
      const lateMs = hostMs() - end;
      return lateMs > PATIENCE_MS || (lateMs > 0 && (options.untilViolation || report().isVoidBecause.length === 0));
    };
    const all = [...nemesesOf(cluster), ...(options.agents === undefined ? [] : agentNemeses(fleet))];
    const chosen = all.filter(({ name }) => options.nemeses?.includes(name) ?? true);
    for (let turn = 0; turn < chosen.length || !hasEnded(); turn++) {
      const nemesis = chosen[turn % chosen.length];
      if (nemesis === undefined) break;
      await somethingPending(history);
      history.overlapped = history.pending;
      striking = nemesis.name;
      await nemesis.strike(cluster, chance);
      const entry = strikes[nemesis.name] ?? { strikes: 0, overlapped: 0 };
      strikes[nemesis.name] = entry;
      entry.strikes += 1;
      entry.overlapped += history.overlapped;
      if (joined < options.joining && turn % 3 === 2) {
        joined += 1;
        traffic.serve((await cluster.join()).index);
      }
      await sleep(options.leaseMs * 0.3);
      await gauges.read();
      if (options.untilViolation && history.violations.length > 0) break;
    }
    await traffic.stop();
    await gauges.read();
  } finally {
    await traffic.stop();
    await fleet.stop();
    await cluster.stop();
  }
  const { crashes, ...rest } = report();
  const unheard = takeUnheard();
  return { ...rest, crashes: unheard === "" ? crashes : [...crashes, unheard] };
}

/** What can break there, besides agents. */
function nemesesOf({ standbys }: Cluster): readonly Nemesis[] {
  return [...NODE_NEMESES, ...(standbys === undefined ? SINGLE_NEMESES : failoverNemeses(standbys))];
}

/** What strikes while nothing is being revoked shows nothing. */
async function somethingPending(history: History): Promise<void> {
  for (let i = 0; i < 1000 && history.pending === 0; i++) await sleep(5);
}

function whyVoid(report: Omit<ChaosReport, "isVoidBecause">): string[] {
  const { counts, strikes } = report;
  const idle = Object.entries(strikes).filter(([, { overlapped }]) => overlapped === 0);
  return [
    ...(counts.leasedWhilePending >= LEAST_LEASED ? [] : ["too few were answered from a lease while a revocation ran"]),
    ...(counts.acked > 0 ? [] : ["no revocation was acknowledged by all"]),
    ...(counts.waited > 0 ? [] : ["no revocation waited a lease out"]),
    ...(report.fillsDiscarded > 0 ? [] : ["no read was discarded"]),
    ...(report.registrations > report.nodes ? [] : ["nobody registered again"]),
    ...idle.map(([name]) => `no revocation ran during "${name}"`),
  ];
}

function whyVoidOfAgents(agents: History["agents"]): string[] {
  const { validFromMemoryWhilePending, acked, waitedForStopped, reattachments } = agents;
  return [
    ...(validFromMemoryWhilePending >= LEAST_LEASED ? [] : ["agents answered too few while a revocation ran"]),
    ...(acked > 0 ? [] : ["no revocation was acknowledged by agents"]),
    ...(waitedForStopped > 0 ? [] : ["no revocation waited for an agent that was stopped"]),
    ...(reattachments > 0 ? [] : ["no agent attached again"]),
  ];
}

/** Counters of every process that there was: those that are killed take theirs along. */
class Gauges {
  readonly #cluster: Cluster;
  readonly #last = new Map<number, string>();

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  get processes(): number {
    return this.#last.size;
  }

  async read(): Promise<void> {
    await Promise.all(
      this.#cluster.nodes.map(async ({ url, server }) => {
        const answer = await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(10_000) }).catch(() => undefined);
        if (answer?.ok) this.#last.set(server.pid, await answer.text());
      }),
    );
  }

  total(name: string): number {
    const of = (text: string) => Number(new RegExp(`^${name} (\\d+)`, "m").exec(text)?.[1] ?? 0);
    return [...this.#last.values()].reduce((sum, text) => sum + of(text), 0);
  }
}
