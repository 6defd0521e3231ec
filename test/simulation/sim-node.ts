import type { Logger } from "pino";
import type { FoundSecret } from "../../src/keys/cached-secret.ts";
import type { Ack, Change } from "../../src/keys/change.ts";
import type { KeyRecord } from "../../src/keys/key.ts";
import type { Keyring } from "../../src/keys/keyring.ts";
import type { ManageDeps } from "../../src/manage/deps.ts";
import { settle } from "../../src/manage/steps/settle.ts";
import { Barrier } from "../../src/revocation/barrier.ts";
import type { ChangeBus } from "../../src/revocation/change-bus.ts";
import { Collector } from "../../src/revocation/collector.ts";
import { Feed } from "../../src/revocation/feed.ts";
import { LeaseKeeper } from "../../src/revocation/lease-keeper.ts";
import type { LeaseRegistry } from "../../src/revocation/lease-registry.ts";
import { RevocationSetWriter } from "../../src/revocation/revocation-fallback.ts";
import { Revoker } from "../../src/revocation/revoker.ts";
import { CLOCK_RATE_ERROR, waitingTime } from "../../src/system/clocks.ts";
import { Lease } from "../../src/verify/lease.ts";
import { createReady } from "../../src/verify/ready-secret.ts";
import { SecretCache } from "../../src/verify/secret-cache.ts";
import { Verifier } from "../../src/verify/verifier.ts";
import type { Chance } from "../../testkit/chance.ts";
import type { Counts } from "./counts.ts";
import type { Database, DatabaseFlaws } from "./database.ts";
import type { Machine } from "./machine.ts";
import type { Links } from "./network.ts";
import { SimStreams } from "./sim-streams.ts";

const keyring = {
  recognise: (secret: string) => ({ kind: "genuine", digest: Buffer.from(secret) }),
} as unknown as Keyring;

/** The product's own classes, put together as the server does it, on a machine of the simulation. */
export class SimNode {
  readonly machine: Machine;
  readonly cache: SecretCache;
  readonly epoch: string;
  readonly termMs: number;
  readonly keeper: LeaseKeeper;
  readonly verifier: Verifier;
  readonly streams: SimStreams;
  readonly outcomes: { confirmed: number; expired: number }[] = [];
  isServing = true;
  readonly #links: Links;
  readonly #feed: Feed;
  readonly #revoker: Revoker;
  readonly #collector: Collector;
  readonly #changes = new Set<(change: Change) => void>();
  readonly #acks = new Set<(ack: Ack) => void>();

  constructor(options: {
    readonly machine: Machine;
    readonly links: Links;
    readonly chance: Chance;
    /** What concerns agents. */
    readonly agents: { readonly chance: Chance; readonly mostKeys: number };
    readonly counts: Counts;
    readonly describe: (found: FoundSecret) => string;
    readonly epoch: string;
    readonly termMs: number;
    readonly flaws: DatabaseFlaws;
    readonly onCollected: () => void;
    readonly onDatabase: (identity: string) => void;
  }) {
    const { machine, links, chance, agents, counts, describe, epoch, termMs, flaws, onCollected, onDatabase } = options;
    this.machine = machine;
    this.epoch = epoch;
    this.termMs = termMs;
    this.#links = links;
    const clocks = machine;
    const timers = machine;
    const random = (bytes: number) => new Uint8Array(bytes);
    const registry: LeaseRegistry = {
      register: (registrant) => links.ask(machine, "lease", (database) => database.register(registrant)),
      renew: async (lease) => {
        const seen = await links.ask(machine, "lease", (database) => database.renew(lease));
        if (seen === undefined || !flaws.renewalsReadTwice) return seen;
        return { ...seen, ...(await links.ask(machine, "lease", (database) => database.see())) };
      },
      leave: (own) => links.ask(machine, "lease", (database) => database.leave(own)),
      list: () => links.ask(machine, "look", (database) => database.list()),
      collect: (holder) => links.ask(machine, "change", (database) => database.collect(holder)),
      reconnect: () => undefined,
    };
    const bus = this.#bus();
    const lease = new Lease(clocks);
    this.cache = new SecretCache({ lease, clocks, random, capacity: 16, maxAgeMs: 60_000 });
    const feed = new Feed({ epoch, cache: this.cache, bus, clocks });
    this.#feed = feed;
    this.keeper = new LeaseKeeper({
      ...{ epoch, termMs, registry, lease, feed, clocks, timers },
      ...{ onDatabase, jitter: () => chance.next() },
    });
    this.#collector = new Collector({
      ...{ registry, clocks, timers, termMs, clockRateError: CLOCK_RATE_ERROR, onCollected },
    });
    const barrier = new Barrier({
      ...{ registry, bus, clocks, timers, clockRateError: CLOCK_RATE_ERROR },
      ...{
        slowMs: 250,
        onDelay: () => undefined,
        pollMs: 60,
        pushAgainMs: 50,
        giveUpMs: 2 * waitingTime(termMs, CLOCK_RATE_ERROR),
      },
    });
    const fallback = new RevocationSetWriter({ store: undefined, readMarker: async () => "" });
    this.#revoker = new Revoker({ bus, barrier, fallback, clocks });
    this.verifier = new Verifier({
      ...{
        keyring,
        cache: this.cache,
        onLoss: undefined,
        monotonicMs: () => machine.monotonicMs(),
        ...{ timers, mostFinds: 1000, findWaitMs: 100, mostReads: 1000, crowdedReads: 1000, crowdedMs: 100 },
        appliedRevision: () => feed.appliedRevision,
      },
      find: (digests) => this.#find(digests),
      ready: createReady({ clockRateError: CLOCK_RATE_ERROR, describe }),
    });
    this.streams = new SimStreams({
      ...{ machine, lease, cache: this.cache, feed, verifier: this.verifier, ...agents, counts },
      admit: () => links.ask(machine, "read", () => undefined),
    });
  }

  start(): void {
    void this.keeper.start();
    this.#collector.start();
  }

  /** The graceful end, as in `serve.ts`: no grants, streams ended, nothing served, then the row goes. */
  async exit(): Promise<void> {
    this.keeper.close();
    this.#collector.stop();
    const ended = this.streams.close();
    // Without streams it is what it was before there were any, to the turn: seeds of then are remembered.
    if (this.streams.size > 0) await ended;
    this.isServing = false;
    await this.keeper.leave().catch(() => undefined);
    this.machine.die();
  }

  /** Whether an agent may hold a lease that it has granted. */
  get isLeased(): boolean {
    return this.#feed.children.isLeased;
  }

  hear(message: Change | Ack): void {
    if ("keyIds" in message) for (const listener of this.#changes) listener(message);
    else for (const listener of this.#acks) listener(message);
  }

  /** The steps of a management call after its transaction, which `write` is. */
  async change(keyId: string, write: (database: Database) => { key: KeyRecord; changed: boolean }): Promise<void> {
    const { key, changed, identity } = await this.#links.ask(this.machine, "change", (database) => ({
      ...write(database),
      identity: database.identity,
    }));
    const remember = (revision: number) =>
      this.#links.ask(this.machine, "change", (database) => database.settle(keyId, { revision, identity }));
    // What `settleKeys` asks of Drizzle.
    const settling = { execute: ({ revision }: { readonly revision: number }) => remember(revision) };
    const database = { update: () => ({ set: () => ({ where: () => ({ prepare: () => settling }) }) }) };
    const deps = {
      revoker: {
        announce: (change: Change) => this.#revoker.announce(change),
        settle: async (change: Change) => {
          const settlement = await this.#revoker.settle(change);
          this.outcomes.push(settlement);
          return settlement;
        },
      },
      storage: { read: (work: (given: typeof database) => Promise<unknown>) => work(database) },
      log: { warn: () => undefined } as unknown as Logger,
    } as unknown as ManageDeps;
    await settle(deps, { key, now: new Date(0), identity, changed });
  }

  async #find(digests: readonly Buffer[]): Promise<Map<string, FoundSecret>> {
    const found = await this.#links.ask(this.machine, "read", (database) =>
      digests.map((digest) => {
        const [keyId = "", version = "1"] = digest.toString().split("#");
        return [digest.toString("hex"), database.find(keyId, Number(version))] as const;
      }),
    );
    return new Map(found);
  }

  #bus(): ChangeBus {
    const listen =
      <T>(to: Set<(message: T) => void>) =>
      (listener: (message: T) => void) => {
        to.add(listener);
        return () => to.delete(listener);
      };
    const tell = (message: Change | Ack) => {
      this.hear(message);
      this.#links.send(this.machine, message);
    };
    return {
      push: async (change) => tell(change),
      acknowledge: (ack) => tell(ack),
      onChange: listen(this.#changes),
      onAck: listen(this.#acks),
      close: async () => undefined,
    };
  }
}
