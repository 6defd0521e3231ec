import type { Timers } from "../system/clocks.ts";

export interface SlotsOptions {
  /** Maximum of concurrent holders. */
  readonly count: number;
  /** Maximum of waiters over all groups. */
  readonly mostWaiting: number;
  readonly timers: Timers;
}

/**
 * `slot`: the waiter may begin, and must release the slot. `crowded`: too many wait. `late`: its time was over first.
 */
export type Turn = "slot" | "crowded" | "late";

interface Waiting {
  readonly group: string;
  readonly end: (turn: Turn) => void;
}

/**
 * Limits concurrent holders and waiters. Groups of waiters take turns. If too many wait, the largest group loses its
 * newest waiter, so that a flood from one address delays only itself.
 */
export class Slots {
  readonly #options: SlotsOptions;
  /** The group with the next turn comes first. Within a group, the longest waiter comes first. */
  readonly #groups = new Map<string, Waiting[]>();
  #free: number;
  #waiting = 0;

  constructor(options: SlotsOptions) {
    this.#options = options;
    this.#free = options.count;
  }

  /** Takes a free slot at once and returns undefined; otherwise waits for one. */
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

  /** Passes the slot to the next group. */
  release(): void {
    const [group] = this.#groups.values();
    const [next, ...rest] = group ?? [];
    if (next === undefined) {
      this.#free += 1;
      return;
    }
    this.#leave(next, "slot");
    // The group goes to the end, for its next turn.
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

  /** Removes the newest waiter of the largest group, unless the new waiter would become that one. */
  #makeRoomFor(group: string): boolean {
    const largest = [...this.#groups.values()].reduce((a, b) => (b.length > a.length ? b : a), []);
    const newest = largest.at(-1);
    if (newest === undefined || largest.length <= (this.#groups.get(group)?.length ?? 0) + 1) return false;
    this.#leave(newest, "crowded");
    return true;
  }
}
