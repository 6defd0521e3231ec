import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import type { Verification } from "../../src/sdk/verification.ts";
import type { SyncListener } from "../../src/sdk/verifier/sync-link.ts";
import { CLOCK_RATE_ERROR } from "../../src/system/clocks.ts";
import type { Chance } from "../../testkit/chance.ts";
import { callNode } from "./call-node.ts";
import type { Counts } from "./counts.ts";
import { Machine } from "./machine.ts";
import type { Promises } from "./promises.ts";
import { SimAgent } from "./sim-agent.ts";
import type { SimNode } from "./sim-node.ts";
import { type Served, Stream } from "./stream.ts";
import type { World } from "./world.ts";

/** What no line of the product's does; the switch of the rule that there is. */
export interface StreamFlaws {
  readonly streamsReorder?: boolean;
}

export interface JoiningAgent {
  readonly rate?: number;
  /** Default: that of the monotonic clock. */
  readonly wallRate?: number;
  /** The only node that it knows, or the only one at a time. Default: any that serves, another each time. */
  readonly node?: SimNode | (() => SimNode | undefined);
}

export interface Around {
  readonly world: World;
  readonly chance: Chance;
  readonly counts: Counts;
  readonly promises: Promises;
  readonly flaws: StreamFlaws;
  /** Nodes that serve. */
  readonly nodes: () => readonly SimNode[];
}

/** The verifiers inside agents of a run. */
export class Agents {
  readonly all: SimAgent[] = [];
  /** Longest way between an agent and a node, in milliseconds, of the few that are slow. */
  slowMs = 0;
  readonly #around: Around;

  constructor(around: Around) {
    this.#around = around;
  }

  /** What chance does to agents is drawn apart, so that what it does among nodes is the same without them. */
  get chance(): Chance {
    return this.#around.chance;
  }

  alive(): SimAgent[] {
    return this.all.filter(({ machine, link }) => !machine.isDead && link.state !== "closed");
  }

  join({ node, ...rates }: JoiningAgent = {}): SimAgent {
    const { world, chance, nodes } = this.#around;
    const rate = rates.rate ?? 1 + CLOCK_RATE_ERROR * (2 * chance.next() - 1);
    const machine = new Machine(world, rate, rates.wallRate);
    const name = `a${this.all.length + 1}`;
    const pick = () => (typeof node === "function" ? node() : (node ?? chance.pick(nodes())));
    const agent = new SimAgent({
      ...{ name, machine, chance },
      open: (listener) => this.#open({ name, machine, listener, node: pick() }),
      call: (request) => callNode({ world, chance, from: machine, node: pick() }, request),
    });
    this.all.push(agent);
    world.note(`${name} joins, clock rate ${rate.toFixed(4)}`);
    agent.verifier.start();
    return agent;
  }

  /** Somebody inside an agent asks, at this moment. */
  verify(agent: SimAgent, keyId: string, version: 1 | 2): void {
    const { world, counts, promises } = this.#around;
    const invoked = world.now;
    const judge = ({ verdict }: Verification, from: string) => {
      if (verdict !== Verdict.VALID || agent.machine.isDead) return;
      promises.judge({ keyId, version }, invoked, `${from}, of ${agent.name}`);
    };
    const secret = `${keyId}#${version}`;
    const ask = async () => {
      const answer = await agent.verifier.verify(secret);
      counts.asked += 1;
      judge(answer, "asked");
    };
    agent.machine.receive(() => {
      const known = agent.verifier.verifySync(secret);
      if (known === "ask") {
        ask().catch(() => undefined);
        return;
      }
      counts.fromMemory += 1;
      judge(known, "memory");
    });
  }

  /** A node was killed; agents are told when their streams are reset, if they are. */
  lose(node: SimNode): void {
    const { chance } = this.#around;
    for (const { stream } of this.all) {
      if (stream?.node !== node.machine || chance.flip(0.3)) continue;
      stream.break({ agent: chance.next() * chance.next() * 300, node: undefined });
    }
  }

  #open(from: {
    readonly name: string;
    readonly machine: Machine;
    readonly listener: SyncListener;
    readonly node: SimNode | undefined;
  }): Stream | undefined {
    const { world, chance, flaws } = this.#around;
    const { name, machine, listener, node } = from;
    if (node === undefined) return undefined;
    world.note(`${name} opens a stream to ${node.epoch}`);
    const accept = (served: Served) => void node.streams.serve(served);
    const around = { world, chance, slowMs: () => this.slowMs, reorders: flaws.streamsReorder === true };
    return new Stream(around, { agent: machine, node: node.machine, listener, accept });
  }
}
