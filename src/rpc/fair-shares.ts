interface Group<Member> {
  readonly name: string;
  /** Oldest first. */
  readonly members: Set<Member>;
}

/**
 * Members by group, so that a full set can make room fairly (max-min fairness): a newcomer displaces a member of the
 * largest group, unless its own group is as large. No group has a limit while there is room: behind a balancer, all
 * clients have one address. Every operation takes constant time.
 */
export class FairShares<Member extends object> {
  readonly #groupOf = new Map<Member, Group<Member>>();
  readonly #groups = new Map<string, Group<Member>>();
  /** Groups by the number of their members; the last set is never empty. */
  readonly #bySize: Set<Group<Member>>[] = [];

  get size(): number {
    return this.#groupOf.size;
  }

  has(member: Member): boolean {
    return this.#groupOf.has(member);
  }

  /** All members, oldest first. */
  members(): Iterable<Member> {
    return this.#groupOf.keys();
  }

  /** Adds a member as the newest of its group. */
  add(name: string, member: Member): void {
    if (this.#groupOf.has(member)) return;
    const group = this.#groups.get(name) ?? { name, members: new Set() };
    this.#groups.set(name, group);
    this.#groupOf.set(member, group);
    this.#resize(group, () => group.members.add(member));
  }

  delete(member: Member): void {
    const group = this.#groupOf.get(member);
    if (group === undefined) return;
    this.#groupOf.delete(member);
    this.#resize(group, () => group.members.delete(member));
    if (group.members.size === 0) this.#groups.delete(group.name);
  }

  /** The oldest member of the largest group. */
  oldestOfLargest(): Member | undefined {
    return first(first(this.#bySize.at(-1) ?? [])?.members ?? []);
  }

  /** The member to displace for a new one of that group; undefined if the group has its fair share already. */
  displacedFor(name: string): Member | undefined {
    const own = this.#groups.get(name)?.members.size ?? 0;
    // With a difference of one, two groups would displace each other's members for ever.
    return this.#bySize.length - 1 > own + 1 ? this.oldestOfLargest() : undefined;
  }

  #resize(group: Group<Member>, change: () => void): void {
    this.#bySize[group.members.size]?.delete(group);
    change();
    const { size } = group.members;
    if (size > 0) {
      while (this.#bySize.length <= size) this.#bySize.push(new Set());
      this.#bySize[size]?.add(group);
    }
    while (this.#bySize.length > 0 && this.#bySize.at(-1)?.size === 0) this.#bySize.pop();
  }
}

function first<Item>(items: Iterable<Item>): Item | undefined {
  for (const item of items) return item;
  return undefined;
}
