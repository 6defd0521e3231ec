import { fileURLToPath } from "node:url";
import { eventually } from "../../testkit/eventually.ts";
import { type GuardedProcess, spawnGuarded } from "../../testkit/guarded-process.ts";
import { type Mutation, mutate } from "../../testkit/mutation.ts";
import { inheritedEnv } from "../../testkit/server-process.ts";
import { createTcpProxy, type TcpProxy } from "../../testkit/tcp-proxy.ts";
import { noteUnheard } from "../../testkit/unheard.ts";
import type { AgentSettings, Order, Report } from "./agent-messages.ts";
import type { Cluster } from "./cluster.ts";
import type { CachedSecret, History } from "./history.ts";
import { hostMs } from "./host-clock.ts";
import type { Audience, NarrowingCall } from "./traffic.ts";

const PROGRAM = fileURLToPath(new URL("agent-program.ts", import.meta.url));
/** Leases for which agents go on asking about a dead secret: longer than one is stopped, or a node collected. */
const WATCH_TERMS = 2.5;
/** Share of a lease from which on an answer to a revocation did wait: without that it takes milliseconds. */
const WAITED_SHARE = 1 / 8;

export interface FleetOptions {
  readonly cluster: Cluster;
  readonly history: History;
  readonly agents: number;
  /** Changes to the source of every agent: the control of a guarantee. */
  readonly mutate?: readonly Mutation[];
}

/** A process with a verifier of the SDK, each of its links to a node through a proxy of its own. */
export interface Agent {
  readonly index: number;
  readonly links: readonly TcpProxy[];
  stop(): void;
  resume(): void;
  /** Kills it, and starts another in its place. */
  replace(): Promise<void>;
}

interface Member extends Agent {
  process: GuardedProcess;
  /** Since when it is stopped. */
  stoppedFrom: number | undefined;
  fresh: boolean;
  reattachments: number;
}

/** Agents on a cluster of which everything breaks. What they say is judged as it comes. */
export class Fleet implements Audience {
  /** What ended an agent that nobody had ended. */
  readonly crashes: string[] = [];
  readonly #options: FleetOptions;
  readonly #members: Member[] = [];
  /** All that there ever were: what an agent said before it was stopped may come late. */
  readonly #keys = new Map<string, CachedSecret>();
  readonly #watched = new Set<CachedSecret>();
  readonly #fading = new Set<string>();
  #isEnding = false;

  constructor(options: FleetOptions) {
    this.#options = options;
  }

  get agents(): readonly Agent[] {
    return this.#members;
  }

  /** Resolves once all may answer from memory. */
  async start(): Promise<void> {
    const { agents } = this.#options;
    await Promise.all(Array.from({ length: agents }, (_, index) => this.#add(index)));
    await eventually(
      () => {
        const waiting = this.#members.filter(({ fresh }) => !fresh).length;
        if (waiting > 0) throw new Error(`${waiting} agents have no lease; ${this.crashes.join("\n")}`);
      },
      { withinMs: 60_000 },
    );
  }

  async stop(): Promise<void> {
    this.#isEnding = true;
    for (const { process } of this.#members) process.child.kill("SIGKILL");
    await Promise.all(this.#members.map(({ process }) => process.exited));
    await Promise.all(this.#members.flatMap(({ links }) => links.map((link) => link.close())));
  }

  learn(key: CachedSecret): void {
    this.#keys.set(key.keyId, key);
    this.#watched.add(key);
    this.#order({ learn: { keyId: key.keyId, secret: key.secret } });
  }

  fade({ keyId }: CachedSecret): void {
    this.#fading.add(keyId);
    this.#order({ fade: keyId });
  }

  narrowed(key: CachedSecret, call: NarrowingCall): void {
    this.#classify(key, call);
    setTimeout(() => this.#forget(key), WATCH_TERMS * this.#options.cluster.leaseMs).unref();
  }

  #forget(key: CachedSecret): void {
    this.#watched.delete(key);
    this.#fading.delete(key.keyId);
    key.holders.clear();
    this.#order({ forget: key.keyId });
  }

  /** Who cannot acknowledge holds the answer up until its lease is over. */
  #classify({ holders }: CachedSecret, { began, returned, receipt }: NarrowingCall): void {
    const { history, cluster } = this.#options;
    const holdsSince = began - cluster.leaseMs;
    const holding = this.#members.filter(({ index }) => (holders.get(index) ?? 0) > holdsSince);
    const isStopped = holding.some(({ stoppedFrom }) => stoppedFrom !== undefined && stoppedFrom < began);
    if (isStopped && returned - began > cluster.leaseMs * WAITED_SHARE) history.agents.waitedForStopped += 1;
    const isAcked = receipt.expiredVerifierCount === 0 && receipt.confirmedVerifierCount > 0;
    if (isAcked && holding.length > 0 && !isStopped) history.agents.acked += 1;
  }

  async #add(index: number): Promise<void> {
    const { nodes } = this.#options.cluster;
    const links = await Promise.all(nodes.map(({ url }) => createTcpProxy({ port: Number(new URL(url).port) })));
    const member: Member = {
      ...{ index, links, stoppedFrom: undefined, fresh: false, reattachments: 0 },
      process: await this.#spawn(index, links),
      stop: () => {
        member.process.child.kill("SIGSTOP");
        member.stoppedFrom = hostMs();
      },
      resume: () => {
        member.stoppedFrom = undefined;
        member.process.child.kill("SIGCONT");
      },
      replace: async () => {
        const old = member.process;
        old.child.removeAllListeners("exit").kill("SIGKILL");
        await old.exited;
        member.process = await this.#spawn(index, links);
        this.#follow(member);
      },
    };
    this.#members.push(member);
    this.#follow(member);
  }

  #spawn(agent: number, links: readonly TcpProxy[]): Promise<GuardedProcess> {
    const { cluster, mutate: mutations } = this.#options;
    const { token, leaseMs } = cluster;
    const settings: AgentSettings = {
      agent,
      token,
      leaseMs,
      urls: links.map(({ port }) => `http://127.0.0.1:${port}`),
    };
    const mutated = mutations === undefined ? undefined : mutate(...mutations);
    const env = { ...inheritedEnv(), ...mutated, ...noteUnheard(mutated?.NODE_OPTIONS) };
    const args = [PROGRAM, JSON.stringify(settings)];
    const stdio: ("ignore" | "pipe" | "ipc")[] = ["ignore", "ignore", "pipe", "ipc"];
    return spawnGuarded({ command: process.execPath, args, spawn: { stdio, env } });
  }

  #follow(member: Member): void {
    const { child } = member.process;
    let errors = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      errors += text;
    });
    child.on("message", (report: Report) => this.#hear(member, report));
    child.on("exit", (code, signal) => {
      if (!this.#isEnding) this.crashes.push(`agent ${member.index} ended with ${code ?? signal}: ${errors}`);
    });
    for (const { keyId, secret } of this.#watched) this.#tell(member, { learn: { keyId, secret } });
    for (const keyId of this.#fading) this.#tell(member, { fade: keyId });
  }

  #hear(member: Member, { answered, fresh, reattachments }: Report): void {
    const { history } = this.#options;
    member.fresh = fresh;
    history.agents.reattachments += Math.max(0, reattachments - member.reattachments);
    member.reattachments = reattachments;
    for (const one of answered) {
      if (one.verdict === undefined) history.agents.undecided += 1;
      const key = this.#keys.get(one.keyId);
      if (key !== undefined) history.answered(key, member.index, one);
    }
  }

  #order(order: Order): void {
    for (const member of this.#members) this.#tell(member, order);
  }

  /** One that is gone, or going, is not told. */
  #tell({ process }: Member, order: Order): void {
    if (process.child.connected) process.child.send(order, () => undefined);
  }
}
