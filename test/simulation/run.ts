import type { Ack, Change } from "../../src/keys/change.ts";
import { Chance } from "../support/chance.ts";
import { Database, type DatabaseFlaws } from "./database.ts";
import { Machine } from "./machine.ts";
import { CLOCK_RATE_ERROR, type Links, SimNode } from "./sim-node.ts";
import { World } from "./world.ts";

export const TERM_MS = 1000;
export const KEYS = ["key_a", "key_b", "key_c"];
/** After this long an unanswered statement fails. */
const TIMEOUT_MS = 700;

export interface Counts {
  leased: number;
  verifies: number;
  narrowed: number;
  waited: number;
  acknowledged: number;
  discarded: number;
  collected: number;
  registrations: number;
}

interface Promised {
  /** No `VALID` for what begins after it. */
  deadFrom: number | undefined;
}

export interface Narrowing {
  readonly way: "revoke" | "disable" | "retire";
  /** For `retire`. Default 0. */
  readonly graceMs?: number;
  /** What happens once it was answered. */
  readonly onAnswered?: () => void;
}

/** One run: nodes, keys, clients, and chance or a director who breaks things. */
export class Run {
  readonly world = new World();
  readonly chance: Chance;
  readonly database: Database;
  readonly nodes: SimNode[] = [];
  readonly counts: Counts = {
    ...{ leased: 0, verifies: 0, narrowed: 0, waited: 0, acknowledged: 0 },
    ...{ discarded: 0, collected: 0, registrations: 0 },
  };
  violation: string | undefined;
  /** Links that are cut: `machine` to the database, or from the bus. */
  readonly cut = new Map<Machine, Set<"lease" | "read" | "change" | "bus">>();
  /** Share of messages on the bus that are lost. */
  loss = 0;
  /** Longest way to the database and back, in milliseconds, of the few that are slow. */
  slowMs = 0;
  readonly #promised = new Map<string, Promised>();
  #epochs = 0;

  constructor(seed: number, flaws: DatabaseFlaws) {
    this.chance = new Chance(seed);
    this.database = new Database(KEYS, flaws);
  }

  join(options: { readonly rate?: number; readonly termMs?: number } = {}): SimNode {
    const rate = options.rate ?? 1 + CLOCK_RATE_ERROR * (2 * this.chance.next() - 1);
    const machine = new Machine(this.world, rate);
    this.#epochs += 1;
    const epoch = `e${this.#epochs}`;
    const onCollected = () => {
      this.counts.collected += 1;
      this.world.note("somebody was collected");
    };
    const now = () => this.world.now;
    const { chance } = this;
    const termMs = options.termMs ?? TERM_MS;
    const node = new SimNode({ machine, links: this.#links(), chance, epoch, termMs, onCollected, now });
    this.nodes.push(node);
    this.world.note(`${epoch} joins, clock rate ${rate.toFixed(4)}, term ${termMs}`);
    node.start();
    return node;
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
          for (const name of [keyId, `${keyId}#${version}`]) this.#judge(name, invoked, freshness);
        },
        () => undefined,
      );
    });
  }

  /** A client revokes, or switches off, and repeats the call elsewhere until it is answered. */
  narrow(node: SimNode, keyId: string, how: Narrowing): void {
    const { way, graceMs = 0, onAnswered = () => undefined } = how;
    const name = way === "retire" ? `${keyId}#1` : keyId;
    const attempt = (at: SimNode, tries: number) => {
      at.machine.receive(() => {
        let end = 0;
        at.change(keyId, (database) => {
          const { record, retireAt } = database.read(keyId);
          end = way === "retire" ? Math.min(retireAt, this.world.now + graceMs) : 0;
          const isDone =
            way === "revoke" ? record.revokeTime !== null : way === "disable" ? record.disabled : retireAt <= end;
          if (isDone) return { key: record, changed: false };
          const change = way === "revoke" ? { revokeTime: new Date(0) } : way === "disable" ? { disabled: true } : {};
          const retire = way === "retire" ? { retire: end } : {};
          return { key: database.change(keyId, change, { narrows: true, ...retire }), changed: true };
        }).then(
          () => {
            this.#promise(name, Math.max(end, this.world.now), way);
            onAnswered();
          },
          () => {
            if (tries < 6) this.world.later(150, () => attempt(this.chance.pick(this.#alive()) ?? at, tries + 1));
          },
        );
      });
    };
    attempt(node, 0);
  }

  enable(node: SimNode, keyId: string): void {
    this.#promised.delete(keyId);
    node.machine.receive(() => {
      node
        .change(keyId, (database) => ({
          key: database.change(keyId, { disabled: false }, { narrows: false }),
          changed: true,
        }))
        .catch(() => undefined);
      this.#promised.delete(keyId);
    });
  }

  /** What was promised before is void: a backup was restored. */
  forget(): void {
    this.#promised.clear();
  }

  #promise(name: string, from: number, way: string): void {
    this.world.note(`${way} of ${name} is answered with OK`);
    this.counts.narrowed += 1;
    const promised = this.#promised.get(name) ?? { deadFrom: undefined };
    promised.deadFrom = Math.min(promised.deadFrom ?? Number.POSITIVE_INFINITY, from);
    this.#promised.set(name, promised);
  }

  #judge(name: string, invoked: number, freshness: string): void {
    const from = this.#promised.get(name)?.deadFrom;
    if (from === undefined || invoked <= from + 0.001 || this.violation !== undefined) return;
    this.violation = `${name} is VALID (${freshness}) for a call of ${invoked.toFixed(1)}, promised dead from ${from.toFixed(1)}`;
    this.world.note(this.violation);
  }

  #alive(): SimNode[] {
    return this.nodes.filter(({ machine, isServing }) => isServing && !machine.isDead);
  }

  #delay(): number {
    return this.slowMs > 0 && this.chance.flip(0.06) ? this.chance.next() * this.slowMs : 0.5 + this.chance.next() * 4;
  }

  #links(): Links {
    return {
      ask: (machine, purpose, statement) =>
        new Promise((resolve, reject) => {
          const isCut = () => this.cut.get(machine)?.has(purpose) === true;
          const late = machine.after(TIMEOUT_MS, () => reject(new Error("no answer")));
          this.world.later(this.#delay(), () => {
            if (isCut()) return;
            const result = statement(this.database);
            this.world.later(this.#delay(), () => {
              if (isCut()) return;
              machine.receive(() => {
                late.cancel();
                resolve(result);
              });
            });
          });
        }),
      send: (from, message: Change | Ack) => {
        for (const { machine, hear } of this.#alive().map((node) => ({
          machine: node.machine,
          hear: (m: Change | Ack) => node.hear(m),
        }))) {
          if (machine === from) continue;
          const copies = this.chance.flip(this.loss) ? 0 : this.chance.flip(0.05) ? 2 : 1;
          for (let copy = 0; copy < copies; copy++) {
            this.world.later(0.3 + this.#delay(), () => {
              if (this.cut.get(machine)?.has("bus") || this.cut.get(from)?.has("bus")) return;
              machine.receive(() => hear(message));
            });
          }
        }
      },
    };
  }
}
