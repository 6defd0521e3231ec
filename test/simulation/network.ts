import type { Ack, Change } from "../../src/keys/change.ts";
import type { Chance } from "../../testkit/chance.ts";
import type { Database } from "./database.ts";
import type { Machine } from "./machine.ts";
import type { World } from "./world.ts";

/** Connections of a node that fail apart; `look` reads the registry, on the pool of the changes. */
export type Purpose = "lease" | "read" | "look" | "change";
export type Link = Exclude<Purpose, "look"> | "bus";
export const DATABASE_LINKS: readonly Link[] = ["lease", "read", "change"];

/** How a node reaches what is outside: every call may be late, lost, or done and its answer lost. */
export interface Links {
  ask<T>(machine: Machine, purpose: Purpose, statement: (database: Database) => T): Promise<T>;
  send(from: Machine, message: Change | Ack): void;
}

export interface Peer {
  readonly machine: Machine;
  hear(message: Change | Ack): void;
}

export interface Lag {
  readonly purposes: readonly Purpose[];
  readonly thereMs: number;
  readonly backMs: number;
}

/** After this long an unanswered statement fails. */
export const TIMEOUT_MS = 700;

/** Between the nodes and their database, and among the nodes. */
export class Network implements Links {
  /** Share of messages on the bus that are lost. */
  loss = 0;
  /** Longest way to the database or back, in milliseconds, of the few that are slow. */
  slowMs = 0;
  /** Milliseconds more that one of a machine's ways to the database takes, there and back. */
  readonly lag = new Map<Machine, Lag>();
  /** What of a machine still leads to the primary that was, once another was promoted. */
  readonly left = new Map<Machine, { readonly old: Database; readonly purposes: readonly Purpose[] }>();
  /** The database that a machine works with, as its last registration has said. */
  readonly expected = new Map<Machine, string>();
  #isDown = false;
  readonly #cut = new Map<Machine, ReadonlySet<Link>>();
  readonly #troubled = new Map<Machine, number>();
  readonly #world: World;
  readonly #chance: Chance;
  readonly #database: Database;
  readonly #peers: () => readonly Peer[];

  constructor(
    around: { readonly world: World; readonly chance: Chance; readonly database: Database },
    peers: () => readonly Peer[],
  ) {
    this.#world = around.world;
    this.#chance = around.chance;
    this.#database = around.database;
    this.#peers = peers;
  }

  cut(machine: Machine, links: readonly Link[]): void {
    this.#cut.set(machine, new Set(links));
    this.#troubled.set(machine, Number.POSITIVE_INFINITY);
  }

  /** For everybody; whoever waits is not to be judged by the time that it takes. */
  setDown(isDown: boolean): void {
    this.#isDown = isDown;
    for (const { machine } of this.#peers()) this.#troubled.set(machine, this.#world.now);
  }

  mend(machine: Machine): void {
    this.#cut.delete(machine);
    this.#troubled.set(machine, this.#world.now);
  }

  /** Whether the database has answered the machine, and promptly, ever since. */
  isCalmSince(machine: Machine, at: number): boolean {
    const isSlow = this.#isDown || this.slowMs > 0 || this.lag.has(machine) || this.left.has(machine);
    return !isSlow && (this.#troubled.get(machine) ?? Number.NEGATIVE_INFINITY) < at && machine.isCalmSince(at);
  }

  ask<T>(machine: Machine, purpose: Purpose, statement: (database: Database) => T): Promise<T> {
    const lag = this.lag.get(machine);
    const { thereMs, backMs } = lag?.purposes.includes(purpose) ? lag : { thereMs: 0, backMs: 0 };
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const isCut = () => this.#isCut(machine, purpose === "look" ? "change" : purpose);
    const late = machine.after(TIMEOUT_MS, () => reject(new Error("no answer")));
    const answer = (result: T) =>
      this.#world.later(backMs + this.#delay(), () => {
        if (isCut()) return;
        machine.receive(() => {
          late.cancel();
          resolve(result);
        });
      });
    this.#world.later(thereMs + this.#delay(), () => {
      if (isCut()) return;
      const left = this.left.get(machine);
      const database = left?.purposes.includes(purpose) ? left.old : this.#database;
      if (!this.#mayUse(machine, purpose, database)) return;
      if (!database.flaws.revisionsBeforeCommit || purpose !== "change") return answer(statement(database));
      const taken = database.takeRevision();
      this.#world.later(this.#chance.next() * 400, () => answer(database.committing(taken, statement)));
    });
    return promise;
  }

  send(from: Machine, message: Change | Ack): void {
    for (const peer of this.#peers()) {
      const { machine } = peer;
      if (machine === from) continue;
      const copies = this.#chance.flip(this.loss) ? 0 : this.#chance.flip(0.05) ? 2 : 1;
      for (let copy = 0; copy < copies; copy++) {
        this.#world.later(0.3 + this.#delay(), () => {
          if (this.#isCut(machine, "bus") || this.#isCut(from, "bus")) return;
          machine.receive(() => peer.hear(message));
        });
      }
    }
  }

  /**
   * A commit on an isolated primary waits for its standby for ever, and so does what needs one (R13); a new connection
   * for misses is refused unless it leads where the lease was registered (R19).
   */
  #mayUse(machine: Machine, purpose: Purpose, database: Database): boolean {
    const { renewalsAreReads, readsAnyServer } = database.flaws;
    if (database === this.#database) return true;
    if (purpose === "lease") return renewalsAreReads === true;
    if (purpose === "read") return readsAnyServer === true || this.expected.get(machine) === database.identity;
    return false;
  }

  #isCut(machine: Machine, link: Link): boolean {
    return (this.#isDown && link !== "bus") || this.#cut.get(machine)?.has(link) === true;
  }

  #delay(): number {
    return this.slowMs > 0 && this.#chance.flip(0.06)
      ? this.#chance.next() * this.slowMs
      : 0.5 + this.#chance.next() * 4;
  }
}
