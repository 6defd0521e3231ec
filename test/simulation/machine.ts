import type { Clocks, Timers } from "../../src/system/clocks.ts";
import type { World } from "./world.ts";

/** A process on a machine of its own: its clocks run fast or slow, it stalls, its machine sleeps, it dies. */
export class Machine implements Clocks, Timers {
  readonly #world: World;
  readonly #rate: number;
  readonly #wallRate: number;
  #wallOffsetMs = 0;
  #sleptMs = 0;
  #asleepSince: number | undefined;
  #stalledUntil = Number.NEGATIVE_INFINITY;
  #requests: (() => void)[] = [];
  #timers: (() => void)[] = [];
  isDead = false;

  /** Milliseconds of its clocks for one of true time: of the monotonic one, and of the other if that differs. */
  constructor(world: World, rate: number, wallRate = rate) {
    this.#world = world;
    this.#rate = rate;
    this.#wallRate = wallRate;
  }

  monotonicMs(): number {
    return ((this.#asleepSince ?? this.#world.now) - this.#sleptMs) * this.#rate;
  }

  wallMs(): number {
    return this.#world.now * this.#wallRate + this.#wallOffsetMs;
  }

  /** Somebody sets the wall clock, forwards or back. */
  setWall(byMs: number): void {
    this.#world.note(`a wall clock is set by ${(byMs / 1000).toFixed(0)} s`);
    this.#wallOffsetMs += byMs;
  }

  /** Whether it has neither died nor stood still since. */
  isCalmSince(at: number): boolean {
    return !this.isDead && this.#stalledUntil < at;
  }

  after(atLeastMs: number, work: () => void): { cancel(): void } {
    // As Node has it: nothing is due sooner than in a millisecond.
    const ms = Math.max(1, atLeastMs);
    let isOff = false;
    const dueMs = this.monotonicMs() + ms;
    const fire = () => {
      if (isOff || this.isDead) return;
      const leftMs = dueMs - this.monotonicMs();
      if (leftMs > 1e-6) this.#world.later(leftMs / this.#rate, () => this.#whenAwake("timer", fire));
      else work();
    };
    this.#world.later(ms / this.#rate, () => this.#whenAwake("timer", fire));
    return {
      cancel: () => {
        isOff = true;
      },
    };
  }

  /** Something comes in from the network. */
  receive(work: () => void): void {
    this.#whenAwake("request", work);
  }

  /** Does nothing for that long. What came in meanwhile is done before timers that are due, as Node does it. */
  stall(ms: number): void {
    if (this.#world.now < this.#stalledUntil) return;
    this.#stalledUntil = this.#world.now + ms;
    this.#world.later(ms, () => this.#wake());
  }

  /** The machine sleeps: a stall that the monotonic clock does not count. */
  sleep(ms: number): void {
    if (this.#world.now < this.#stalledUntil) return;
    this.#asleepSince = this.#world.now;
    this.#world.later(ms, () => {
      this.#asleepSince = undefined;
      this.#sleptMs += ms;
    });
    this.stall(ms);
  }

  die(): void {
    this.isDead = true;
  }

  #whenAwake(kind: "request" | "timer", work: () => void): void {
    if (this.isDead) return;
    if (this.#world.now >= this.#stalledUntil && this.#requests.length + this.#timers.length === 0) work();
    else (kind === "request" ? this.#requests : this.#timers).push(work);
  }

  #wake(): void {
    const [next] = [this.#requests.shift() ?? this.#timers.shift()];
    if (next === undefined || this.isDead) return;
    next();
    this.#world.later(0, () => this.#wake());
  }
}
