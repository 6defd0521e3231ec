import type { Timers } from "../system/clocks.ts";

export interface SlotsOptions {
  /** How many may be under way at once. */
  readonly count: number;
  /** How many may wait for a slot, in all. */
  readonly mostWaiting: number;
  readonly timers: Timers;
}

/** `slot`: it may begin, and releases the slot afterwards. `crowded`: too many wait. `late`: its time was over first. */
export type Turn = "slot" | "crowded" | "late";

interface Waiting {
  readonly group: string;
  readonly end: (turn: Turn) => void;
}

/**
 * Limits how many are under way at once, and how many wait for that. The groups of those that wait have their turns one
 * after the other, and where too many wait the largest group loses its newest: a flood from one address delays itself.
 */
export class Slots {
  readonly #options: SlotsOptions;
  /** The group whose turn is next comes first; within a group, the one that has waited longest. */
  readonly #groups = new Map<string, Waiting[]>();
  #free: number;
  #waiting = 0;

  constructor(options: SlotsOptions) {
    this.#options = options;
    this.#free = options.count;
  }

  /** Undefined if there is a slot at once, which is taken then. */
  take(group: string, withinMs: number): Promise<Turn> | undefined {
    if (this.#free > 0) {
      this.#free -= 1;
      return undefined;
    }
    if (this.#waiting >= this.#options.mostWaiting && !this.#makeRoomFor(group)) return Promise.resolve("crowded");
    return new Promise((resolve) => {
      const timer = this.#options.timers.after(withinMs, () => this.#leave(waiting, "late"));
      const end = (turn: Turn) => {
        timer.cancel();
        resolve(turn);
      };
      const waiting: Waiting = { group, end };
      this.#enter(waiting);
    });
  }

  /** Gives the slot to the group whose turn it is. */
  release(): void {
    const [group] = this.#groups.values();
    const [next, ...rest] = group ?? [];
    if (next === undefined) {
      this.#free += 1;
      return;
    }
    this.#leave(next, "slot");
    // Behind all others, for its next turn.
    this.#groups.delete(next.group);
    if (rest.length > 0) this.#groups.set(next.group, rest);
  }

  #enter(waiting: Waiting): void {
    this.#waiting += 1;
    const group = this.#groups.get(waiting.group);
    if (group === undefined) this.#groups.set(waiting.group, [waiting]);
    else group.push(waiting);
  }

  #leave(waiting: Waiting, turn: Turn): void {
    const group = this.#groups.get(waiting.group) ?? [];
    this.#waiting -= 1;
    group.splice(group.indexOf(waiting), 1);
    if (group.length === 0) this.#groups.delete(waiting.group);
    waiting.end(turn);
  }

  /** Sends the newest of the largest group away, unless that would be the same as to send away the new one. */
  #makeRoomFor(group: string): boolean {
    const largest = [...this.#groups.values()].reduce((a, b) => (b.length > a.length ? b : a), []);
    const newest = largest.at(-1);
    if (newest === undefined || largest.length <= (this.#groups.get(group)?.length ?? 0) + 1) return false;
    this.#leave(newest, "crowded");
    return true;
  }
}
