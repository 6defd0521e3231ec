import type { Mutation } from "../../testkit/mutation.ts";
import { AGENT_RULES } from "./agent-rules.ts";
import type { StreamFlaws } from "./agents.ts";
import type { DatabaseFlaws } from "./database.ts";

/** A rule of the protocol, and the product without it. */
export interface Rule {
  readonly id: string;
  readonly rule: string;
  /** Of the product's source; none where the rule lives in SQL, or in how the server is put together. */
  readonly without: readonly Mutation[];
  /** Of the model of those. */
  readonly flaws?: DatabaseFlaws & StreamFlaws;
  /** The schedule that shows it, where chance seldom finds one; see `directed.ts`. */
  readonly schedule?: string;
  /** Which shows it, tried before all others: to look for it takes seconds. */
  readonly seed?: number;
  /** What the violation says. Default `is VALID`. */
  readonly says?: "is LATE";
}

const KEEPER = "src/revocation/lease-keeper.ts";
const FEED = "src/revocation/feed.ts";
const BARRIER = "src/revocation/barrier.ts";
const JUDGE = "src/revocation/judge.ts";

export const RULES: readonly Rule[] = [
  {
    id: "R1",
    seed: 2144,
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
        find: "return this.remainingMs(now) > 0;",
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
    seed: 71,
    rule: "every registration drops what was kept",
    without: [{ file: FEED, find: "    this.#options.cache.clear();\n", replace: "" }],
  },
  {
    id: "R5, reads",
    rule: "a registration cancels reads that are under way",
    without: [{ file: "src/verify/fills.ts", find: "    this.#generation += 1;\n", replace: "" }],
    schedule: "a node registers anew during a slow read",
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
    id: "R6, one snapshot",
    rule: "a renewal reads changes and revision from one snapshot",
    without: [],
    flaws: { renewalsReadTwice: true },
    schedule: "a renewal and a change meet, and nothing is pushed",
  },
  {
    id: "R7",
    seed: 42,
    rule: "an acknowledgement is for exactly one revision",
    without: [
      {
        file: BARRIER,
        find: "if (ack.revision !== change.revision ||",
        replace: "if (ack.revision < change.revision ||",
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
    without: [{ file: JUDGE, find: "if (silent.length > 0 && leftMs > 0)", replace: "if (false)" }],
  },
  {
    id: "R10",
    rule: "the wait allows for both clocks",
    without: [
      {
        file: "src/system/clocks.ts",
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
        file: JUDGE,
        find: "waitingTime(termMs, clockRateError);",
        replace: "waitingTime(Math.min(termMs, 1000), clockRateError);",
      },
    ],
    schedule: "a longer term than the revoker's own",
  },
  {
    id: "R11",
    seed: 890,
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
    id: "R11, a clock that is set",
    rule: "a wall clock that is set back lengthens no lease",
    without: [
      {
        file: "src/verify/lease.ts",
        find: "return Math.max(0, this.#termMs - Math.max(monotonic, wall));",
        replace: "return Math.max(0, this.#termMs - wall);",
      },
    ],
    schedule: "a clock is set back while a node has no database",
  },
  {
    id: "R12",
    rule: "revisions follow the order of commits",
    without: [],
    flaws: { revisionsBeforeCommit: true },
    schedule: "a renewal and a change meet, and nothing is pushed",
  },
  {
    id: "R13",
    rule: "a renewal is a write, which an isolated primary cannot commit",
    without: [],
    flaws: { renewalsAreReads: true },
    schedule: "a primary is promoted, and the fence lets the leases through to the one that was",
  },
  {
    id: "R14",
    rule: "each start of a process has an epoch of its own",
    without: [],
    flaws: { reusesEpochs: true },
    schedule: "a process takes the place of one that exits slowly",
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
    id: "R15, compared",
    rule: "a holder that has renewed since it was seen is not given up",
    without: [],
    flaws: { collectsBlindly: true },
    schedule: "a holder renews while it is given up",
  },
  {
    id: "R15, gaps",
    rule: "a collector that could not look starts its count again",
    without: [
      {
        file: "src/revocation/collector.ts",
        find: "if (doneMs - this.#lastReadMs > termMs / 2) this.#silences.clear();",
        replace: "",
      },
      {
        file: "src/revocation/collector.ts",
        find: "again.\n      this.#silences.clear();",
        replace: "again.",
      },
    ],
    schedule: "a backup is restored while a collector cannot look",
  },
  {
    id: "R16",
    rule: "a repetition waits like the first call",
    without: [
      {
        file: "src/manage/steps/settle.ts",
        find: "const isUnsettled = narrowedRevision > settledRevision;",
        replace: "const isUnsettled = changed && narrowedRevision > settledRevision;",
      },
    ],
  },
  {
    id: "R16, a grace that ends soon",
    rule: "what ends within a lease waits like what ends at once",
    without: [
      {
        file: "src/manage/steps/settle.ts",
        find: "now.getTime() + 2 * waitingTime(leaseMs, CLOCK_RATE_ERROR)",
        replace: "now.getTime()",
      },
    ],
    schedule: "a secret ends after a grace that is shorter than a lease",
  },
  {
    id: "R17",
    rule: "misses are read from the primary",
    without: [],
    flaws: { readsLag: true },
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
    id: "R18, renewals",
    rule: "a renewal whose outcome is unknown grants nothing",
    without: [
      {
        file: KEEPER,
        find: "    } catch (error) {\n      this.#fail(attempt, error);",
        replace:
          "    } catch (error) {\n      this.#options.lease.grant(since, termMs);\n      this.#fail(attempt, error);",
      },
    ],
    schedule: "a key is revoked as a node loses its lease, which it takes for renewed",
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
    id: "R19, acknowledgements",
    rule: "what was acknowledged on another timeline does not count",
    without: [],
    flaws: { acksAcrossTimelines: true },
    schedule: "a renewal acknowledges changes that a restored backup has lost",
  },
  {
    id: "R19, what was obeyed",
    rule: "what was obeyed of another timeline does not count",
    without: [],
    flaws: { settlesAcrossTimelines: true },
    schedule: "what a lost change had reached is remembered after a backup is restored",
  },
  {
    id: "R19, pushes",
    rule: "what another timeline pushes is neither counted nor acknowledged",
    without: [{ file: FEED, find: "if (change.identity !== this.#identity) return;", replace: "" }],
    schedule: "a lost change is pushed after a backup is restored",
  },
  {
    id: "R19, new connections",
    rule: "a new connection is used only where it leads to the database of the lease",
    without: [],
    flaws: { readsAnyServer: true },
    schedule: "a primary is promoted, and new connections of a node lead to the one that was",
  },
  {
    id: "R20",
    seed: 270,
    rule: "a request joins a read only if its result could still be kept",
    without: [{ file: "src/verify/verifier.ts", find: "&& cache.mayJoin(running.fill)", replace: "" }],
  },
  {
    id: "R20, token alive",
    seed: 270,
    rule: "nobody joins a read that began before a change was applied",
    without: [
      {
        file: "src/verify/fills.ts",
        find: "token.generation === this.#generation && token.count === this.#count;",
        replace: "token.generation === this.#generation;",
      },
    ],
  },
  {
    id: "R20, leased now",
    rule: "nobody joins a read once the lease is over",
    without: [
      {
        file: "src/verify/secret-cache.ts",
        find: "return this.#fills.isUntouched(token) && this.#options.lease.isLive();",
        replace: "return this.#fills.isUntouched(token);",
      },
    ],
    schedule: "a read is slower than a lease",
  },
  {
    id: "R20, ends meanwhile",
    seed: 92,
    rule: "who joined a read is not told of a secret that has ended since",
    without: [
      {
        file: "src/verify/verifier.ts",
        find: "if (found === undefined || !cache.hasEnded(found)) return found;",
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
  {
    id: "P1-live",
    rule: "a revocation ends its wait when the last lease is over",
    without: [{ file: JUDGE, find: "const leftMs = endsMs - nowMs;", replace: "const leftMs = 1e9;" }],
    says: "is LATE",
  },
  ...AGENT_RULES,
];
