import { setTimeout as sleep } from "node:timers/promises";
import { durationFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { RevocationReceipt } from "#gen/claviger/v1/key_pb.js";
import type { Chance } from "../../testkit/chance.ts";
import type { Clients } from "../../testkit/connect.ts";
import type { Cluster } from "./cluster.ts";
import type { CachedSecret, History } from "./history.ts";
import { hostMs } from "./host-clock.ts";
import { Witnesses } from "./witnesses.ts";

const POOL = 24;
const VERIFIERS_PER_NODE = 2;
const REVOKERS = 6;
const SCOPES = ["a:b", "c:d"];
const VERIFY_MS = 1500;
const CHANGE_MS = 8000;
/** The clocks of Postgres and of this process are one; its instants are cut to milliseconds. */
const CLOCK_MS = 5;
/** How long a secret that was refused is asked about, so that it is seen. */
const LINGER_MS = 400;

/** Whoever else verifies: agents. */
export interface Audience {
  learn(key: CachedSecret): void;
  /** It is being narrowed. */
  fade(key: CachedSecret): void;
  /** It has been: whatever must be refused must be from now on. */
  narrowed(key: CachedSecret, call: NarrowingCall): void;
}

/** A narrowing call that was answered with OK. */
export interface NarrowingCall {
  readonly began: number;
  readonly returned: number;
  readonly receipt: RevocationReceipt;
}

export interface TrafficParts {
  readonly cluster: Cluster;
  readonly history: History;
  readonly chance: Chance;
  readonly audience?: Audience | undefined;
}

type Narrowing = (clients: Clients, key: CachedSecret) => Promise<RevocationReceipt | undefined>;

/** Clients that verify all the time, and others that take validity away in every way there is. */
export class Traffic {
  readonly #cluster: Cluster;
  readonly #history: History;
  readonly #chance: Chance;
  readonly #audience: Audience | undefined;
  readonly #live: CachedSecret[] = [];
  readonly #fading: CachedSecret[] = [];
  readonly #witnesses: Witnesses;
  #running = true;
  #owners = 0;
  #workers: Promise<unknown>[] = [];

  constructor(parts: TrafficParts) {
    this.#cluster = parts.cluster;
    this.#history = parts.history;
    this.#chance = parts.chance;
    this.#audience = parts.audience;
    this.#witnesses = new Witnesses(parts);
  }

  async start(): Promise<void> {
    while (this.#live.length < POOL) this.#live.push(await this.#create());
    for (const { index } of this.#cluster.nodes) this.serve(index);
    for (let i = 0; i < REVOKERS; i++) this.#workers.push(this.#repeat(() => this.#narrowOne()));
  }

  /** Verifies on a node from here on. */
  serve(node: number): void {
    for (let i = 0; i < VERIFIERS_PER_NODE; i++) this.#workers.push(this.#repeat(() => this.#verifyOne(node)));
  }

  async stop(): Promise<void> {
    this.#running = false;
    await Promise.all(this.#workers);
    await this.#witnesses.stop();
  }

  async #repeat(work: () => Promise<void>): Promise<void> {
    while (this.#running) await work();
  }

  async #verifyOne(node: number): Promise<void> {
    const known = this.#chance.pick(this.#fading.length > 0 && this.#chance.flip(0.6) ? this.#fading : this.#live);
    const clients = this.#cluster.nodes[node]?.clients;
    if (known === undefined || clients === undefined) return void (await sleep(5));
    const narrow = this.#chance.flip(0.3);
    const call = { by: `node ${node}`, narrow, began: hostMs() };
    const request = { secret: known.secret, requiredScopes: narrow ? SCOPES : [] };
    try {
      this.#history.verified(known, call, await clients.verifier.verify(request, { timeoutMs: VERIFY_MS }));
      await sleep(2);
    } catch {
      this.#history.counts.undecided += 1;
      await sleep(10);
    }
  }

  async #narrowOne(): Promise<void> {
    const at = this.#chance.below(this.#live.length);
    const [key] = this.#live.splice(at, 1);
    if (key === undefined) return void (await sleep(5));
    const way = this.#chance.pick<Narrowing>([revoke, revoke, disable, rotateAtOnce, rotateSoon, retire, takeScope]);
    this.#fading.push(key);
    this.#audience?.fade(key);
    if (await this.#insist(way ?? revoke, key)) await sleep(LINGER_MS);
    this.#fading.splice(this.#fading.indexOf(key), 1);
    while (this.#running) {
      const next = await this.#create().catch(() => undefined);
      if (next === undefined) {
        await sleep(50);
        continue;
      }
      this.#live.push(next);
      break;
    }
    await sleep(this.#chance.below(60));
  }

  /** Repeats the call on whatever node until it is answered with OK, as a careful client would. */
  async #insist(way: Narrowing, key: CachedSecret): Promise<boolean> {
    const { counts, barrierMs } = this.#history;
    this.#history.began();
    try {
      while (this.#running) {
        const node = this.#chance.pick(this.#cluster.nodes);
        if (node === undefined) return false;
        const began = hostMs();
        node.revoking += 1;
        const receipt = await way(node.clients, key).catch(() => undefined);
        node.revoking -= 1;
        if (receipt === undefined) {
          await sleep(20);
          continue;
        }
        const returned = hostMs();
        if (way === takeScope) key.narrowFrom ??= returned;
        else key.deadFrom ??= returned;
        this.#witnesses.watch(key, way === takeScope ? SCOPES : []);
        counts.narrowed += 1;
        if (receipt.expiredVerifierCount > 0) counts.waited += 1;
        else if (receipt.confirmedVerifierCount > 0) counts.acked += 1;
        barrierMs.push(returned - began);
        this.#audience?.narrowed(key, { began, returned, receipt });
        return true;
      }
      return false;
    } finally {
      this.#history.ended();
    }
  }

  async #create(): Promise<CachedSecret> {
    const node = this.#chance.pick(this.#cluster.nodes);
    if (node === undefined) throw new Error("there is no node");
    const request = { owner: `chaos-${this.#owners++}`, displayName: "k", scopes: SCOPES };
    const { key, secret } = await node.clients.keys.createKey(request, { timeoutMs: CHANGE_MS });
    const known = { keyId: key?.id ?? "", secret, deadFrom: undefined, narrowFrom: undefined, holders: new Map() };
    this.#audience?.learn(known);
    return known;
  }
}

const options = { timeoutMs: CHANGE_MS };

const revoke: Narrowing = async ({ keys }, { keyId }) => (await keys.revokeKey({ keyId }, options)).receipt;

const disable: Narrowing = async ({ keys }, { keyId }) => {
  const request = { key: { id: keyId, disabled: true }, updateMask: { paths: ["disabled"] } };
  return (await keys.updateKey(request, options)).receipt;
};

const takeScope: Narrowing = async ({ keys }, { keyId }) => {
  const request = { key: { id: keyId, scopes: SCOPES.slice(0, 1) }, updateMask: { paths: ["scopes"] } };
  const { receipt, key } = await keys.updateKey(request, options);
  // A repetition takes nothing away any more and has no receipt, but has waited all the same.
  return receipt ?? (key === undefined ? undefined : await retired(keys, keyId));
};

const retire: Narrowing = async ({ keys }, { keyId }) =>
  (await keys.retireSecret({ keyId, version: 1 }, options)).receipt;

const rotateAtOnce: Narrowing = async ({ keys }, { keyId }) => {
  const { receipt } = await keys.rotateKey({ keyId, gracePeriod: {} }, options);
  // Where the first answer was lost, the secret is an older one now.
  return receipt ?? (await retired(keys, keyId));
};

/** The old secret, which nodes have in memory, ends by itself a little later. */
const rotateSoon: Narrowing = async ({ keys }, key) => {
  const { receipt, retiring } = await keys.rotateKey({ keyId: key.keyId, gracePeriod: durationFromMs(400) }, options);
  const end = retiring?.retireTime;
  if (receipt === undefined || end === undefined || retiring?.version !== 1) return retired(keys, key.keyId);
  key.deadFrom = Math.max(hostMs(), timestampMs(end) - (Date.now() - hostMs())) + CLOCK_MS;
  return receipt;
};

async function retired(keys: Clients["keys"], keyId: string): Promise<RevocationReceipt | undefined> {
  return (await keys.retireSecret({ keyId, version: 1 }, options)).receipt;
}
