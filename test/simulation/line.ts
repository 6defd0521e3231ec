import type { Machine } from "./machine.ts";
import type { World } from "./world.ts";

export interface LineOptions {
  readonly world: World;
  readonly to: Machine;
  /** Milliseconds that the next one takes, if nothing is before it. */
  readonly delay: () => number;
  /** What is sent may arrive in another order: no line of the product's does that. */
  readonly reorders: boolean;
}

/** One way of a stream: what is sent arrives in order, late, or not at all. */
export class Line {
  readonly #options: LineOptions;
  readonly #sent: (() => void)[] = [];
  #arrivesAt = 0;
  #due = 0;
  #isHeld = false;
  #isCut = false;

  constructor(options: LineOptions) {
    this.#options = options;
  }

  send(work: () => void): void {
    const { world, delay, reorders } = this.#options;
    const arrivesAt = world.now + delay();
    this.#arrivesAt = reorders ? arrivesAt : Math.max(this.#arrivesAt, arrivesAt);
    if (!reorders) this.#sent.push(work);
    world.later(this.#arrivesAt - world.now, () => {
      if (reorders) this.#deliver(work);
      else this.#next();
    });
  }

  /** For so long nothing arrives, and nobody is told; then everything does. */
  hold(ms: number): void {
    if (this.#isHeld) return;
    this.#isHeld = true;
    this.#options.world.later(ms, () => {
      this.#isHeld = false;
      for (; this.#due > 0; this.#due -= 1) this.#deliver(this.#sent.shift());
    });
  }

  /** Nothing arrives any more. */
  cut(): void {
    this.#isCut = true;
  }

  #next(): void {
    if (this.#isHeld) this.#due += 1;
    else this.#deliver(this.#sent.shift());
  }

  #deliver(work: (() => void) | undefined): void {
    if (work === undefined || this.#isCut) return;
    this.#options.to.receive(() => {
      if (!this.#isCut) work();
    });
  }
}
