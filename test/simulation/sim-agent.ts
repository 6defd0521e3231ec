import type { PreparedAnswer } from "../../src/sdk/verifier/cached-answer.ts";
import { InProcessVerifier, type InProcessVerifierOptions } from "../../src/sdk/verifier/in-process-verifier.ts";
import { SyncLink, type SyncLinkOptions } from "../../src/sdk/verifier/sync-link.ts";
import { troubleOf } from "../../src/sdk/verifier/trouble.ts";
import { CLOCK_RATE_ERROR } from "../../src/system/clocks.ts";
import { UsageRecorder } from "../../src/usage/recorder.ts";
import { Lease } from "../../src/verify/lease.ts";
import { SecretCache } from "../../src/verify/secret-cache.ts";
import type { Chance } from "../../testkit/chance.ts";
import type { Machine } from "./machine.ts";
import type { Stream } from "./stream.ts";

export interface SimAgentOptions {
  readonly name: string;
  readonly machine: Machine;
  readonly chance: Chance;
  /** To a node; undefined if there is none. */
  readonly open: (...to: Parameters<SyncLinkOptions["open"]>) => Stream | undefined;
  readonly call: InProcessVerifierOptions["servers"]["verify"];
}

/** Half of the term of a lease, as `create-verifier.ts` has it. */
const PATIENCE_MS = 500;
const RETRY_MS = { first: 20, max: 400 };

/** The SDK's own classes, put together as `createVerifier` does it, on a machine of the simulation. */
export class SimAgent {
  readonly name: string;
  readonly machine: Machine;
  readonly link: SyncLink;
  readonly verifier: InProcessVerifier;
  readonly cache: SecretCache<PreparedAnswer>;
  /** The one that was opened last. */
  stream: Stream | undefined;

  constructor({ name, machine, chance, open, call }: SimAgentOptions) {
    this.name = name;
    this.machine = machine;
    const [clocks, timers, clockRateError] = [machine, machine, CLOCK_RATE_ERROR];
    const random = (bytes: number) => new Uint8Array(bytes);
    const lease = new Lease(clocks);
    const cache = new SecretCache<PreparedAnswer>({ lease, clocks, random, capacity: 16, maxAgeMs: 60_000 });
    this.cache = cache;
    this.link = new SyncLink({
      ...{ lease, cache, clocks, timers, clockRateError, patienceMs: PATIENCE_MS, retryMs: RETRY_MS },
      jitter: () => chance.next(),
      open: (listener) => {
        this.stream = open(listener);
        if (this.stream !== undefined) return this.stream;
        timers.after(1, () => listener.onBroken(new Error("refused")));
        return { send: () => undefined, close: () => undefined };
      },
    });
    this.verifier = new InProcessVerifier({
      ...{ link: this.link, lease, cache, clockRateError, clocks, timers, timeoutMs: 60_000 },
      forms: { isSecret: () => true, isKeyId: () => true },
      warnings: { met: troubleOf, tokenExpireTime: undefined },
      holdProcess: () => () => undefined,
      pause: () => Promise.resolve(),
      recorder: new UsageRecorder({ clocks, budgetBytes: 1_000_000 }),
      reporter: { start: () => undefined, end: async () => undefined },
      servers: { count: 1, verify: call, close: () => undefined },
    });
  }
}
