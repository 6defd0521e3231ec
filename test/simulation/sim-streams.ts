import { createContextValues, type HandlerContext } from "@connectrpc/connect";
import type { Logger } from "pino";
import { ClavigerError } from "../../src/keys/errors.ts";
import { ChildLease, type ChildStream } from "../../src/revocation/child-lease.ts";
import type { Feed } from "../../src/revocation/feed.ts";
import { CallLog } from "../../src/rpc/call-log.ts";
import type { Gate } from "../../src/rpc/gate.ts";
import { SyncStreams } from "../../src/rpc/sync/sync.ts";
import { MeteredVerifier } from "../../src/usage/metered-verifier.ts";
import type { Lease } from "../../src/verify/lease.ts";
import type { SecretCache } from "../../src/verify/secret-cache.ts";
import type { Verifier } from "../../src/verify/verifier.ts";
import type { Chance } from "../../testkit/chance.ts";
import type { Counts } from "./counts.ts";
import type { Machine } from "./machine.ts";
import type { Served } from "./stream.ts";

export interface SimStreamsOptions {
  readonly machine: Machine;
  readonly lease: Lease;
  readonly cache: SecretCache;
  readonly feed: Feed;
  readonly verifier: Verifier;
  /** Of what concerns agents: what chance does among nodes does not depend on it. */
  readonly chance: Chance;
  readonly mostKeys: number;
  /** Asks the database who the caller is. */
  readonly admit: () => Promise<unknown>;
  readonly counts: Counts;
}

/** Share of questions and requests of a lease for which the caller's own key is not in memory. */
const STRANGERS = 0.1;

/** What a node serves verifiers inside agents with, put together as `compose.ts` does it. */
export class SimStreams {
  readonly metered: MeteredVerifier;
  readonly #options: SimStreamsOptions;
  readonly #streams: SyncStreams;

  constructor(options: SimStreamsOptions) {
    this.#options = options;
    const { machine, lease, cache, chance, admit, verifier } = options;
    const recorder = { record: () => undefined };
    this.metered = new MeteredVerifier({ verifier, charges: undefined, recorder, onLimiterLoss: "deny" });
    const gate = {
      admit: () =>
        lease.isLive() && !chance.flip(STRANGERS)
          ? undefined
          : admit().catch((cause: unknown) => {
              throw new ClavigerError("STORAGE_UNAVAILABLE", "away", { cause });
            }),
    } as unknown as Gate;
    this.#streams = new SyncStreams({
      ...{ gate, verifier: this.metered, clocks: machine, timers: machine, validate: () => undefined },
      log: { debug: () => undefined, warn: () => undefined, error: () => undefined } as unknown as Logger,
      callLog: new CallLog({ debug: undefined, info: undefined, clocks: machine }),
      reports: {
        proofFor: () => new Uint8Array(),
        take: () => Promise.reject(new Error("no usage is reported here")),
      },
      leftMs: (known) => cache.leftMs(known),
      attach: (stream) => this.#attach(stream),
      ...{ mostStreams: 100, mostWaiting: 8, mostAsks: 128, closeMs: 200, mostTurnMs: Number.POSITIVE_INFINITY },
    });
  }

  get size(): number {
    return this.#streams.size;
  }

  async serve({ requests, send, end }: Served): Promise<void> {
    const { signal } = new AbortController();
    const context = {
      values: createContextValues(),
      requestHeader: new Headers(),
      signal,
    } as unknown as HandlerContext;
    try {
      for await (const message of this.#streams.serve(requests, context)) await send(message);
      end(new Error("the node has ended the stream"));
    } catch (error) {
      end(error);
    }
  }

  close(): Promise<void> {
    return this.#streams.close();
  }

  #attach(stream: ChildStream): ChildLease {
    const { machine, lease, feed, mostKeys, counts } = this.#options;
    let endsMs = Number.POSITIVE_INFINITY;
    const child = new ChildLease({
      ...{ children: feed.children, lease, clocks: machine, mostKeys, appliedRevision: () => feed.appliedRevision },
      ...{ agent: { keyId: "", owner: "", address: "" }, slowMs: 250, onDelay: () => undefined },
      stream: {
        granted: (grant) => {
          const nowMs = machine.monotonicMs();
          if (grant.remainingMs > 0) {
            counts.grants += 1;
            if (endsMs <= nowMs) counts.lapses += 1;
            endsMs = nowMs + grant.remainingMs;
          }
          stream.granted(grant);
        },
        changed: (change) => {
          counts[change.keyIds === "all" ? "resets" : "told"] += 1;
          stream.changed(change);
        },
      },
    });
    const close = child.close.bind(child);
    child.close = () => {
      if (child.isLeased()) counts.closedWhileLeased += 1;
      close();
    };
    return child;
  }
}
