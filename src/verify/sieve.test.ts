import { createHash } from "node:crypto";
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { Sieve } from "./sieve.ts";

interface Entry {
  readonly name: string;
}

let gone: string[];
let sieve: Sieve<Entry>;
const entry = (name: string): Entry => ({ name });
const placeOf = (name: string) => createHash("sha256").update(name).digest("latin1");
const fill = (...names: readonly string[]) => {
  for (const name of names) sieve.set(placeOf(name), entry(name));
};

beforeEach(() => {
  gone = [];
  sieve = new Sieve(3, ({ name }) => gone.push(name));
});

describe("a sieve that is full", () => {
  it("gives up the oldest that nobody has used", () => {
    fill("a", "b", "c", "d", "e");
    expect(gone).toEqual(["a", "b"]);
  });

  it("keeps what was used since the hand last came by, and gives up the next", () => {
    fill("a", "b", "c");
    sieve.get(placeOf("a"));
    fill("d");
    expect(gone).toEqual(["b"]);
    sieve.get(placeOf("c"));
    fill("e");
    expect(gone).toEqual(["b", "d"]);
    fill("f");
    expect(gone).toEqual(["b", "d", "e"]);
  });

  it("gives one up though all are in use", () => {
    fill("a", "b", "c");
    for (const name of ["a", "b", "c"]) sieve.get(placeOf(name));
    fill("d");
    expect(gone).toEqual(["a"]);
    expect(sieve.size).toBe(3);
  });

  it("replaces an entry in its place without giving up another", () => {
    fill("a", "b", "c", "a");
    expect(gone).toEqual(["a"]);
    expect(sieve.size).toBe(3);
  });
});

/** SIEVE over a map, which keeps the order of insertion: the slower form that the table replaced. */
class MapSieve {
  readonly entries = new Map<string, { readonly entry: Entry; isUsed: boolean }>();
  readonly #capacity: number;
  readonly #onGone: (entry: Entry) => void;
  #hand = this.entries.entries();

  constructor(capacity: number, onGone: (entry: Entry) => void) {
    this.#capacity = capacity;
    this.#onGone = onGone;
  }

  get(name: string): Entry | undefined {
    const found = this.entries.get(name);
    if (found !== undefined) found.isUsed = true;
    return found?.entry;
  }

  set(added: Entry): void {
    if (this.entries.has(added.name)) this.delete(added.name);
    else if (this.entries.size >= this.#capacity) this.#makeRoom();
    this.entries.set(added.name, { entry: added, isUsed: false });
  }

  delete(name: string): void {
    const found = this.entries.get(name);
    this.entries.delete(name);
    if (found !== undefined) this.#onGone(found.entry);
  }

  clear(): void {
    this.entries.clear();
    this.#hand = this.entries.entries();
  }

  #makeRoom(): void {
    for (;;) {
      const { value } = this.#hand.next();
      if (value === undefined) {
        this.#hand = this.entries.entries();
        continue;
      }
      const [name, found] = value;
      if (!found.isUsed) {
        this.delete(name);
        return;
      }
      found.isUsed = false;
    }
  }
}

it("whatever happens, it keeps and gives up the same entries as SIEVE over a map, and never more than it may", () => {
  const names = Array.from({ length: 40 }, (_, at) => `name-${at}`);
  const places = new Map(names.map((name) => [name, placeOf(name)]));
  const name = fc.constantFrom(...names);
  const what = fc.oneof(
    { weight: 40, arbitrary: fc.constantFrom("set", "set", "get", "get", "delete") },
    { weight: 1, arbitrary: fc.constant("clear") },
  );
  const steps = fc.array(fc.record({ what, name }), { maxLength: 300, size: "max" });
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 30 }), (taken, capacity) => {
      const [lost, lostByModel]: [Entry[], Entry[]] = [[], []];
      const slots = new Map<number, Entry>();
      const own = new Sieve<Entry>(capacity, (each, slot) => {
        expect(slots.get(slot)).toBe(each);
        slots.delete(slot);
        lost.push(each);
      });
      const model = new MapSieve(capacity, (each) => lostByModel.push(each));
      for (const step of taken) {
        const place = places.get(step.name) as string;
        if (step.what === "get") expect(own.get(place)).toBe(model.get(step.name));
        if (step.what === "delete") {
          const known = model.entries.get(step.name)?.entry;
          const [slot] = [...slots].find(([, each]) => each === known) ?? [];
          if (slot !== undefined) own.delete(slot);
          model.delete(step.name);
        }
        if (step.what === "set") {
          const added = entry(step.name);
          const slot = own.set(place, added);
          expect(slots.has(slot)).toBe(false);
          slots.set(slot, added);
          expect(own.at(slot)).toBe(added);
          model.set(added);
        }
        if (step.what === "clear") {
          own.clear();
          slots.clear();
          model.clear();
        }
        expect(lost.length).toBe(lostByModel.length);
        expect(own.size).toBe(model.entries.size);
        expect(own.size).toBeLessThanOrEqual(capacity);
      }
      expect(lost).toEqual(lostByModel);
      expect(slots.size).toBe(own.size);
    }),
  );
});
