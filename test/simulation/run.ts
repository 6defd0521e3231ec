import type { KeyRecord } from "../../src/keys/key.ts";
import { endsSoon } from "../../src/manage/steps/settle.ts";
import { CLOCK_RATE_ERROR, waitingTime } from "../../src/system/clocks.ts";
import { Chance } from "../../testkit/chance.ts";
import { Agents, type StreamFlaws } from "./agents.ts";
import { noCounts } from "./counts.ts";
import { createDescribe } from "./create-describe.ts";
import { Database, type DatabaseFlaws } from "./database.ts";
import { Machine } from "./machine.ts";
import { Network, TIMEOUT_MS } from "./network.ts";
import { type Committed, Promises } from "./promises.ts";
import { SimNode } from "./sim-node.ts";
import { World } from "./world.ts";

export const TERM_MS = 1000;
export const KEYS = ["key_a", "key_b", "key_c"];
/** Makes another seed of one. */
const APART = 0x5f356495;
/** What a change may take beside the database's time and W: a way to the database and back, and a millisecond or two. */
const MARGIN_MS = 40;

export interface Narrowing {
  readonly way: "revoke" | "disable" | "retire";
  /** For `retire`, which waits only if that ends soon. Default 0. */
  readonly graceMs?: number;
  /** What happens once it was answered. */
  readonly onAnswered?: () => void;
}

export interface Joining {
  readonly rate?: number;
  /** Default: that of the monotonic clock. */
  readonly wallRate?: number;
  readonly termMs?: number;
  /** Whose place it takes. */
  readonly after?: SimNode;
  /** Keys of one stream that it remembers. */
  readonly mostKeys?: number;
}

/** One run: nodes, keys, clients, and chance or a director who breaks things. */
export class Run {
  readonly world = new World();
  readonly chance: Chance;
  readonly database: Database;
  readonly network: Network;
  readonly nodes: SimNode[] = [];
  readonly agents: Agents;
  readonly counts = noCounts();
  readonly promises = new Promises();
  readonly #describe = createDescribe();
  #epochs = 0;

  constructor(seed: number, flaws: DatabaseFlaws & StreamFlaws) {
    const { world } = this;
    this.chance = new Chance(seed);
    this.database = new Database(KEYS, flaws, () => world.now);
    this.network = new Network({ world, chance: this.chance, database: this.database }, () => this.#hearing());
    const { counts, promises } = this;
    const chance = new Chance(seed ^ APART);
    this.agents = new Agents({ world, chance, counts, promises, flaws, nodes: () => this.alive() });
  }

  join(options: Joining = {}): SimNode {
    const { world, chance, network } = this;
    const { flaws } = this.database;
    const rate = options.rate ?? 1 + CLOCK_RATE_ERROR * (2 * chance.next() - 1);
    const machine = new Machine(world, rate, options.wallRate);
    this.#epochs += 1;
    const epoch = (flaws.reusesEpochs ? options.after?.epoch : undefined) ?? `e${this.#epochs}`;
    const onCollected = () => {
      this.counts.collected += 1;
      world.note("somebody was collected");
    };
    const onDatabase = (identity: string) => void network.expected.set(machine, identity);
    const termMs = options.termMs ?? TERM_MS;
    const mostKeys = options.mostKeys ?? (this.agents.chance.flip(0.15) ? 2 : 10);
    const agents = { chance: this.agents.chance, mostKeys };
    const node = new SimNode({
      ...{ machine, links: network, chance, agents, counts: this.counts, epoch, termMs, flaws },
      ...{ onCollected, onDatabase, describe: this.#describe },
    });
    this.nodes.push(node);
    world.note(`${epoch} joins, clock rate ${rate.toFixed(4)}, term ${termMs}`);
    node.start();
    return node;
  }

  alive(): SimNode[] {
    return this.nodes.filter(({ machine, isServing }) => isServing && !machine.isDead);
  }

  /** Who leaves goes on telling agents of changes until none has a lease. */
  #hearing(): SimNode[] {
    return this.nodes.filter(({ machine, isServing, isLeased }) => (isServing || isLeased) && !machine.isDead);
  }

  /** A client asks a node, at this moment. */
  verify(node: SimNode, keyId: string, version: 1 | 2): void {
    const invoked = this.world.now;
    node.machine.receive(() => {
      if (!node.isServing) return;
      node.verifier.verify({ secret: `${keyId}#${version}`, requiredScopes: [], clientIp: "" }).then(
        ({ decision, freshness }) => {
          this.counts.verifies += 1;
          if (freshness === "leased") this.counts.leased += 1;
          if (decision.verdict !== "valid" || node.machine.isDead) return;
          this.promises.judge({ keyId, version }, invoked, `${freshness}, of ${node.epoch}`);
        },
        () => undefined,
      );
    });
  }

  /** A client revokes, or switches off, and repeats the call elsewhere until it is answered. */
  narrow(node: SimNode, keyId: string, how: Narrowing): void {
    const { way, onAnswered = () => undefined } = how;
    const attempt = (at: SimNode, tries: number) => {
      at.machine.receive(() => {
        let end = 0;
        let committed: Committed | undefined;
        let isAnswered = false;
        at.change(keyId, (database) => {
          const written = this.#write(at, keyId, how, database);
          end = written.end;
          committed = this.promises.committed(keyId);
          this.world.note(`${way} of ${keyId} through ${at.epoch} is committed at ${database.revision}`);
          this.#time(at, { name: `${way} of ${keyId} through ${at.epoch}`, isAnswered: () => isAnswered });
          return written;
        }).then(
          () => {
            isAnswered = true;
            this.world.note(`${way} of ${keyId} through ${at.epoch} is answered with OK`);
            this.counts.narrowed += 1;
            const name = way === "retire" ? `${keyId}#1` : `${keyId}:${way}`;
            const from = Math.max(end, this.world.now);
            if (committed !== undefined) this.promises.made(committed, { keyId, name, from });
            onAnswered();
          },
          () => {
            isAnswered = true;
            if (tries < 6) this.world.later(150, () => attempt(this.chance.pick(this.alive()) ?? at, tries + 1));
          },
        );
      });
    };
    attempt(node, 0);
  }

  enable(node: SimNode, keyId: string): void {
    node.machine.receive(() => {
      node
        .change(keyId, (database) => {
          this.promises.opened(keyId);
          return { key: database.change(keyId, { disabled: false }, { narrows: false }), changed: true };
        })
        .catch(() => undefined);
    });
  }

  /** The transaction of a change, and from when it takes validity away: 0 for at once. */
  #write(
    at: SimNode,
    keyId: string,
    { way, graceMs = 0 }: Narrowing,
    database: Database,
  ): { readonly key: KeyRecord; readonly changed: boolean; readonly end: number } {
    const { record, retireAt } = database.read(keyId);
    const { now } = this.world;
    if (way !== "retire") {
      const isDone = way === "revoke" ? record.revokeTime !== null : record.disabled;
      if (isDone) return { key: record, changed: false, end: 0 };
      const change = way === "revoke" ? { revokeTime: new Date(0) } : { disabled: true };
      return { key: database.change(keyId, change, { narrows: true }), changed: true, end: 0 };
    }
    const end = Math.min(retireAt, now + graceMs);
    if (retireAt <= end) return { key: record, changed: false, end };
    const narrows = endsSoon(new Date(end), new Date(now), { leaseMs: at.termMs });
    return { key: database.change(keyId, {}, { narrows, retire: end }), changed: true, end };
  }

  /** P1-live: whoever else is dead or cut off, a node that the database answers answers within W and its margin. */
  #time(at: SimNode, call: { readonly name: string; readonly isAnswered: () => boolean }): void {
    const { world, database, network } = this;
    const began = world.now;
    const termMs = Math.max(...[...database.rows.values()].map((row) => row.termMs), 0);
    const mostMs = waitingTime(termMs, CLOCK_RATE_ERROR) / (1 - CLOCK_RATE_ERROR) + MARGIN_MS;
    world.later(mostMs, () => {
      // A read of the registry that was lost before the commit may still be waited for.
      if (!network.isCalmSince(at.machine, began - TIMEOUT_MS)) return;
      this.counts.timed += 1;
      if (!call.isAnswered()) this.promises.late(call.name, mostMs);
    });
  }
}
