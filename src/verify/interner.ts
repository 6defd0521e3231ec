/** Distinct lists that are remembered. Beyond it all are forgotten, which costs only memory. */
const MOST_LISTS = 10_000;

/** Shares equal lists, as copies that cannot be changed: most keys of an owner have the same scopes. */
export class Interner {
  readonly #known = new Map<string, readonly string[]>();

  share(list: readonly string[]): readonly string[] {
    const name = list.join("\0");
    const known = this.#known.get(name);
    if (known !== undefined && known.length === list.length) return known;
    if (this.#known.size >= MOST_LISTS) this.#known.clear();
    const shared = Object.freeze([...list]);
    this.#known.set(name, shared);
    return shared;
  }
}
