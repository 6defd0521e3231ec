import type { Logger } from "pino";
import type { FoundSecret } from "../../keys/cached-secret.ts";
import type { Keyring } from "../../keys/keyring.ts";
import { describeOutage } from "../../postgres/errors.ts";
import { readSetMarker, replaceSetMarker, trimFeed } from "../../postgres/feed.ts";
import { createLeaseRegistry } from "../../postgres/lease-registry.ts";
import { findByDigests } from "../../postgres/secrets.ts";
import { forgetCollected } from "../../postgres/verifiers.ts";
import { Barrier } from "../../revocation/barrier.ts";
import { type Agent, ChildLease, type ChildStream } from "../../revocation/child-lease.ts";
import { Collector } from "../../revocation/collector.ts";
import { Feed } from "../../revocation/feed.ts";
import { LeaseKeeper } from "../../revocation/lease-keeper.ts";
import { RevocationSetWriter } from "../../revocation/revocation-fallback.ts";
import { RevocationSet } from "../../revocation/revocation-set.ts";
import { Revoker } from "../../revocation/revoker.ts";
import { createLeftOutWarning } from "../../rpc/codec/shown-key.ts";
import { describeFound } from "../../rpc/describe-found.ts";
import { CLOCK_RATE_ERROR, waitingTime } from "../../system/clocks.ts";
import { systemClocks as clocks, systemRandom as random, systemTimers as timers } from "../../system/node.ts";
import { Lease } from "../../verify/lease.ts";
import { createReady } from "../../verify/ready-secret.ts";
import { SecretCache } from "../../verify/secret-cache.ts";
import { Verifier } from "../../verify/verifier.ts";
import type { ServerConfig } from "../config/config.ts";
import type { EndingKeys } from "../observe/ending-keys.ts";
import { Outage } from "../observe/outage.ts";
import type { OpenBus } from "./open-bus.ts";
import type { OpenStorage } from "./open-storage.ts";

/** Interval at which a waiting change reads the registry. */
const BARRIER_POLL_MS = 25;
/** Time after which a change is pushed once more: a lost message is rarer than a slow one. */
const PUSH_AGAIN_MS = 50;
/** Time for which a look-up statement that hangs makes others wait. */
const FIND_WAIT_MS = 100;
/** Time for which fewer secrets are read at once after a refusal: above most pauses of a garbage collector. */
const CROWDED_MS = 250;
/** Time that changes stay in the feed at least, and time beyond the longest life of a verifier on the revocation set. */
const FEED_KEPT_MS = 20 * 60_000;
const BEYOND_REVOCATION_SET_MS = 5 * 60_000;

export interface RevocationParts {
  readonly config: ServerConfig;
  readonly opened: OpenStorage;
  readonly keyring: Keyring;
  readonly bus: OpenBus;
  readonly log: Logger;
  readonly endingKeys: EndingKeys;
  readonly onBarrier: (outcome: "acknowledged" | "waited" | "failed", durationMs: number) => void;
}

/** This process as a verifier and as a revoker. */
export interface OpenRevocation {
  /** Names this process. */
  readonly epoch: string;
  readonly verifier: Verifier;
  readonly revoker: Revoker;
  readonly cache: SecretCache;
  readonly feed: Feed;
  readonly keeper: LeaseKeeper;
  /** Whether verification can go on by the revocation set without Postgres. */
  readonly canConfirm: () => boolean;
  /** Lets a verifier inside an agent share the lease; in the turn in which its stream is accepted. */
  readonly attach: (stream: ChildStream, agent: Agent) => ChildLease;
  /** Registers under the address, and renews from then on. */
  start(address: string): Promise<void>;
  /** Removes rows that no process needs any more from the feed, the registry and the revocation set. */
  trim(): Promise<void>;
  /** No answer from memory after it. */
  stopLeasing(): void;
  /** Takes the process off the registry. Call it when nothing is served any more. */
  leave(): Promise<void>;
}

/** Builds the parts that answer from memory and those that revoke; nothing runs before `start`. */
export function openRevocation(parts: RevocationParts): OpenRevocation {
  const { config, opened, keyring, log, onBarrier } = parts;
  const { policy } = config;
  const { storage } = opened;
  const { bus, set } = parts.bus;
  const termMs = policy.revocation.leaseMs;
  const clockRateError = CLOCK_RATE_ERROR;
  const feedKeptMs = Math.max(FEED_KEPT_MS, policy.revocation.revocationSetMs + BEYOND_REVOCATION_SET_MS);
  const usesRevocationSet = config.onDatabaseLoss === "revocation-set";
  const epoch = Buffer.from(random(16)).toString("hex");
  let address = "";

  const registry = createLeaseRegistry({
    ...{ leases: opened.leases, others: storage },
    self: () => ({ roots: keyring.rootIds, address, usesRevocationSet }),
  });
  const lease = new Lease(clocks);
  const cache = new SecretCache({
    ...{ lease, clocks, random },
    ...{ capacity: policy.verify.cacheEntries, maxAgeMs: policy.verify.cacheEntryMs },
  });
  const feed = new Feed({ epoch, cache, bus, clocks });
  const onLoss =
    usesRevocationSet && set !== undefined
      ? new RevocationSet({
          ...{ store: set, random, clocks },
          replaceMarker: (seen, marker) => storage.write((database) => replaceSetMarker(database, seen, marker)),
          appliedRevision: () => feed.appliedRevision,
          isAway: () => keeper.isAway,
          lastsMs: policy.revocation.revocationSetMs,
        })
      : undefined;
  const renewing = new Outage({
    ...{ log, event: "lease" },
    failing: "the lease could not be renewed; the server tries again",
    well: "the lease is renewed again",
    mostReasons: 1,
  });
  const keeper = new LeaseKeeper({
    ...{ epoch, termMs, registry, lease, feed, clocks, timers },
    jitter: () => (random(1)[0] ?? 0) / 255,
    onGranted(seen, since) {
      renewing.succeeded();
      onLoss?.onGranted(seen, since);
    },
    onDatabase: (identity) => opened.expect(identity),
    onLost: (lost) =>
      log.error(
        { event: "revisions lost", ...lost },
        "the database lost changes that this node had applied, revocations perhaps among them. Revoke again what was revoked last, and let commits wait for the standby (synchronous_standby_names)",
      ),
    // In words of its own: an outage of storage alone says nothing of the lease.
    onFailure: (error) => renewing.failed(error instanceof Error ? describeOutage(error) : error),
  });
  const collector = new Collector({
    ...{ registry, clocks, timers, clockRateError, termMs },
    onCollected: (lost) =>
      log.warn({ event: "collected", epoch: lost }, "a verifier is gone; revocations no longer wait for it"),
  });
  const barrier = new Barrier({
    ...{ registry, bus, clocks, timers, clockRateError, pollMs: BARRIER_POLL_MS, pushAgainMs: PUSH_AGAIN_MS },
    giveUpMs: 2 * waitingTime(termMs, clockRateError),
    slowMs: policy.revocation.slowChangeMs,
    onDelay: (delay) => log.warn({ event: "slow node", ...delay }, "a change waited for a node"),
  });
  const onLeftOut = createLeftOutWarning((about, message) => log.warn(about, message));
  // Called once for each secret that is read.
  const describe = (found: FoundSecret) => {
    parts.endingKeys.note(found);
    return describeFound(found, onLeftOut);
  };
  const fallback = new RevocationSetWriter({ store: set, readMarker: () => storage.read(readSetMarker) });

  return {
    ...{ epoch, cache, feed, keeper },
    canConfirm: () => onLoss?.canConfirm() === true,
    attach: (stream, agent) =>
      new ChildLease({
        ...{
          children: feed.children,
          lease,
          clocks,
          stream,
          agent,
          mostKeys: policy.sync.keysPerStream,
          slowMs: policy.revocation.slowChangeMs,
        },
        onDelay: (delay) => log.warn({ event: "slow agent", ...delay }, "a change waited for an agent"),
        appliedRevision: () => feed.appliedRevision,
      }),
    verifier: new Verifier({
      ...{ mostFinds: policy.verify.maxFinds, findWaitMs: FIND_WAIT_MS },
      ...{ mostReads: policy.verify.maxReads, crowdedReads: policy.verify.crowdedReads, crowdedMs: CROWDED_MS },
      ...{ keyring, cache, onLoss, timers, monotonicMs: clocks.monotonicMs },
      ready: createReady({ clockRateError, describe }),
      find: (digests) => opened.misses.read((database) => findByDigests(database, digests)),
      appliedRevision: () => feed.appliedRevision,
    }),
    revoker: new Revoker({ bus, barrier, fallback, clocks, onBarrier }),
    async start(own) {
      address = own;
      await keeper.start();
      collector.start();
    },
    async trim() {
      const floor = await storage.transaction((transaction) => trimFeed(transaction, feedKeptMs));
      await storage.read((database) => forgetCollected(database, policy.revocation.revocationSetMs + termMs));
      if (floor > 0) await fallback.trim(floor);
    },
    stopLeasing() {
      keeper.close();
      collector.stop();
    },
    leave: () => keeper.leave(),
  };
}
