import type { Mutation } from "../support/mutation.ts";

/** A rule of the protocol, and the product without it. */
export interface Rule {
  readonly id: string;
  readonly rule: string;
  readonly without: readonly Mutation[];
  /** The schedule that shows it, where chance seldom finds one; see `directed.ts`. */
  readonly schedule?: string;
}

const KEEPER = "src/revocation/lease-keeper.ts";
const FEED = "src/revocation/feed.ts";
const BARRIER = "src/revocation/barrier.ts";

export const RULES: readonly Rule[] = [
  {
    id: "R1",
    rule: "the lease runs from before the request was sent",
    without: [
      {
        file: KEEPER,
        find: "this.#options.lease.grant(since, this.#options.termMs);",
        replace: "this.#options.lease.grant(readMoment(this.#options.clocks), this.#options.termMs);",
      },
    ],
  },
  {
    id: "R2",
    rule: "the clock is read when the request is handled, not by a timer",
    without: [
      {
        file: "src/verify/lease.ts",
        find: "return this.remainingMs() > 0;",
        replace: "return this.timed === true;",
      },
      {
        file: "src/verify/lease.ts",
        find: "    this.#termMs = termMs;\n  }\n\n  /** Ends",
        replace: `    this.#termMs = termMs;
    const left = this.remainingMs();
    this.timed = left > 0;
    this.alarm?.cancel();
    this.alarm = this.#clocks.after(left, () => { this.timed = false; });
  }

  /** Ends`,
      },
      {
        file: "src/verify/lease.ts",
        find: "    this.#termMs = 0;\n  }",
        replace: "    this.#termMs = 0;\n    this.timed = false;\n  }",
      },
    ],
  },
  {
    id: "R3",
    rule: "what was read is kept only if nothing that was applied since names its key",
    without: [
      {
        file: "src/verify/fills.ts",
        find: "if (this.#recent[at % RING]?.includes(keyId)) return false;",
        replace: ";",
      },
    ],
  },
  {
    id: "R4",
    rule: "the registration is committed before any read that may be kept",
    without: [
      {
        file: KEEPER,
        find: "    const seen = await registry.register(",
        replace: "    this.#options.lease.grant(since, termMs);\n    const seen = await registry.register(",
      },
      { file: FEED, find: "    this.#options.cache.clear();\n", replace: "" },
    ],
    schedule: "joins while a key is revoked",
  },
  {
    id: "R5",
    rule: "every registration drops what was kept",
    without: [{ file: FEED, find: "    this.#options.cache.clear();\n", replace: "" }],
  },
  {
    id: "R6",
    rule: "a renewal brings the feed, applied before the lease grows",
    without: [
      {
        file: FEED,
        find: 'if (keyIds === "all" || keyIds.length > 0) this.#options.cache.apply(keyIds);',
        replace: "",
      },
    ],
  },
  {
    id: "R7",
    rule: "an acknowledgement is for exactly one revision",
    without: [
      {
        file: BARRIER,
        find: "if (ack.revision !== change.revision) return;",
        replace: "if (ack.revision < change.revision) return;",
      },
    ],
  },
  {
    id: "R8",
    rule: "the registry is read after the commit",
    without: [
      {
        file: "src/revocation/registry-poller.ts",
        find: "const readers = [...this.#readers];",
        replace: "const readers = this.#readers;",
      },
    ],
    schedule: "joins while the registry is being read",
  },
  {
    id: "R9",
    rule: "OK only after all acknowledgements or the full wait",
    without: [{ file: BARRIER, find: "if (silent.length > 0 && leftMs > 0) {", replace: "if (false) {" }],
  },
  {
    id: "R10",
    rule: "the wait allows for both clocks",
    without: [
      {
        file: "src/revocation/waiting-time.ts",
        find: "return (termMs * (1 + clockRateError)) / (1 - clockRateError);",
        replace: "return termMs;",
      },
    ],
    schedule: "a fast revoker and a slow verifier",
  },
  {
    id: "R10, mixed terms",
    rule: "the wait is by the holder's own term",
    without: [
      {
        file: BARRIER,
        find: "return waitingTime(termMs, this.#options.clockRateError);",
        replace: "return waitingTime(Math.min(termMs, 1000), this.#options.clockRateError);",
      },
    ],
    schedule: "a longer term than the revoker's own",
  },
  {
    id: "R11",
    rule: "a lease is over by whichever clock says so first",
    without: [
      {
        file: "src/verify/lease.ts",
        find: "return Math.max(0, this.#termMs - Math.max(monotonic, wall));",
        replace: "return Math.max(0, this.#termMs - monotonic);",
      },
    ],
  },
  {
    id: "R15",
    rule: "a holder is given up only after two waits without a renewal",
    without: [
      {
        file: "src/revocation/collector.ts",
        find: "< 2 * waitingTime(holder.termMs, clockRateError)) return;",
        replace: "< 0.3 * holder.termMs) return;",
      },
    ],
  },
  {
    id: "R16",
    rule: "a repetition waits like the first call",
    without: [
      {
        file: "src/manage/settle.ts",
        find: "const isUnsettled = narrowedRevision > settledRevision;",
        replace: "const isUnsettled = changed && narrowedRevision > settledRevision;",
      },
    ],
  },
  {
    id: "R18",
    rule: "what is unknown is no OK",
    without: [
      {
        file: BARRIER,
        find: "        reject(error);",
        replace:
          "        resolve({ confirmed: 0, expired: 0, durationMs: 0, usesRevocationSet: false, isAcknowledgedByAll: true });",
      },
    ],
    schedule: "the revoker cannot read the registry",
  },
  {
    id: "R19",
    rule: "another database is registered with anew",
    without: [{ file: KEEPER, find: "seen.identity === this.#identity &&", replace: "" }],
    schedule: "a backup is restored and outgrows what was lost",
  },
  {
    id: "R19, revision gone back",
    rule: "a revision below what was applied is another past",
    without: [
      { file: KEEPER, find: "seen.identity === this.#identity &&", replace: "" },
      { file: KEEPER, find: "seen.revision >= appliedRevision", replace: "true" },
    ],
    schedule: "a backup is restored",
  },
  {
    id: "R20",
    rule: "a request joins a read only if its result could still be kept",
    without: [{ file: "src/verify/verifier.ts", find: "&& cache.mayJoin(running.fill)", replace: "" }],
  },
  {
    id: "R20, ends meanwhile",
    rule: "who joined a read is not told of a secret that has ended since",
    without: [
      {
        file: "src/verify/verifier.ts",
        find: "if (found === undefined || !cache.hasEnded(running.fill, found)) return found;",
        replace: "return found;",
      },
    ],
  },
  {
    id: "trimmed feed",
    rule: "who lacks what was trimmed registers anew",
    without: [{ file: KEEPER, find: "appliedRevision >= seen.trimmedRevision &&", replace: "" }],
    schedule: "the feed is trimmed beyond what a node has",
  },
];
