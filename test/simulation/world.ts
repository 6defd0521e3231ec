interface Event {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** True time, which passes only as events come, and everything that is going to happen. */
export class World {
  now = 0;
  readonly trace: string[] = [];
  readonly #heap: Event[] = [];
  #order = 0;

  /** Runs `run` in `ms` of true time; of two at one moment, the first that was asked for. */
  later(ms: number, run: () => void): void {
    this.#push({ at: this.now + Math.max(0, ms), order: this.#order++, run });
  }

  note(text: string): void {
    this.trace.push(`${this.now.toFixed(1).padStart(8)} ${text}`);
  }

  /** Lets everything happen that happens before `end`; promises settle after each event. */
  async passUntil(end: number): Promise<void> {
    for (let next = this.#heap[0]; next !== undefined && next.at <= end; next = this.#heap[0]) {
      this.#pop();
      this.now = Math.max(this.now, next.at);
      next.run();
      await settled();
    }
    this.now = end;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isBefore(event, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      const [left, right] = [heap[child], heap[child + 1]];
      if (left === undefined) break;
      if (right !== undefined && isBefore(right, left)) child += 1;
      const least = heap[child];
      if (least === undefined || !isBefore(least, last)) break;
      heap[at] = least;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** Turns of the microtask queue that the longest chain of promises here takes, with room to spare. */
const TURNS = 24;

async function settled(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) await null;
}
