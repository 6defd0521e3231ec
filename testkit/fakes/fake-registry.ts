import type { Holder, LeaseRegistry, Registered, Renewed } from "../../src/revocation/lease-registry.ts";

/** A registry that answers at once, as the test says. */
export class FakeRegistry implements LeaseRegistry {
  readonly rows = new Map<string, Holder>();
  readonly calls: string[] = [];
  revision = 0;
  trimmedRevision = 0;
  identity = "db";
  /** Keys by the revision that changed them. */
  readonly changes = new Map<number, string>();
  /** While set, every call waits for it: throw in it to fail. */
  before: () => Promise<void> = async () => undefined;

  add(holder: Partial<Holder> & { readonly epoch: string }): void {
    const row = {
      address: "",
      termMs: 3000,
      ackedRevision: 0,
      renewSeq: 1,
      usesRevocationSet: false,
      isCollected: false,
    };
    this.rows.set(holder.epoch, { ...row, ...holder });
  }

  change(keyId: string): number {
    this.revision += 1;
    this.changes.set(this.revision, keyId);
    return this.revision;
  }

  async register({ epoch, termMs }: Parameters<LeaseRegistry["register"]>[0]): Promise<Registered> {
    this.calls.push("register");
    await this.before();
    this.add({ epoch, termMs, ackedRevision: this.rows.get(epoch)?.ackedRevision ?? 0 });
    return this.#seen();
  }

  async renew(lease: Parameters<LeaseRegistry["renew"]>[0]): Promise<Renewed | undefined> {
    this.calls.push("renew");
    await this.before();
    const row = this.rows.get(lease.epoch);
    if (row === undefined || row.isCollected) return undefined;
    const ackedRevision = Math.max(row.ackedRevision, lease.ackedRevision);
    this.rows.set(lease.epoch, { ...row, renewSeq: row.renewSeq + 1, ackedRevision });
    const keyIds = [...this.changes].flatMap(([rev, keyId]) => (rev > lease.appliedRevision ? [keyId] : []));
    return { ...this.#seen(), trimmedRevision: this.trimmedRevision, keyIds };
  }

  async leave(epoch: string): Promise<void> {
    this.calls.push("leave");
    this.rows.delete(epoch);
  }

  async list(): Promise<readonly Holder[]> {
    this.calls.push("list");
    await this.before();
    return [...this.rows.values()];
  }

  async collect({ epoch, renewSeq }: Pick<Holder, "epoch" | "renewSeq">): Promise<boolean> {
    const row = this.rows.get(epoch);
    if (row?.renewSeq !== renewSeq) return false;
    this.rows.set(epoch, { ...row, isCollected: true });
    return true;
  }

  reconnect(): void {
    this.calls.push("reconnect");
  }

  #seen(): Registered {
    return { revision: this.revision, identity: this.identity, setMarker: "" };
  }
}
