import { isOwnScope } from "../../keys/scopes.ts";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../../system/clocks.ts";
import { isObject } from "../../system/json.ts";

const SECOND = 1000;

/** The longest time that a timer is set to, in whole days: docs and messages name it. */
export const LONGEST_TIMER_SETTING_MS = 24 * DAY_MS;
/** A hundred years: added to an instant, it stays within what a date can hold. */
const LONGEST_SPAN_MS = 36_500 * DAY_MS;

/** One number of the policy, or another value that operators may change by `CLAVIGER_POLICY`. */
export interface PolicyEntry<Value = unknown> {
  readonly default: Value;
  /** The unit of the value, such as `milliseconds`. */
  readonly unit: string;
  /** The thing that the value bounds, and the reason for the default. */
  readonly text: string;
  /** The form of a right value, as the end of the sentence "Give …". */
  readonly right: string;
  readonly holds: (value: unknown) => boolean;
}

/** Every value of the policy by room. The JSON of `CLAVIGER_POLICY` has the same shape. */
export const POLICY = {
  manage: {
    brand: other("clv", {
      unit: "text",
      text: "Begins every secret, so that people and scanners recognise it",
      right: "2 to 16 lower-case letters",
      holds: (value) => typeof value === "string" && /^[a-z]{2,16}$/.test(value),
    }),
    keysPerOwner: count(10, "keys", "Keys per owner that are neither revoked nor expired"),
    keysPerOwnerPrefix: other<Readonly<Record<string, number>>>(
      {},
      {
        unit: "keys by prefix",
        text: 'Replaces `keysPerOwner` for owners that begin with a prefix, such as `{"svc:": 100}`. The longest prefix that fits counts',
        right: 'an object of positive whole numbers by prefix, such as {"svc:": 100}',
        holds: (value) => isObject(value) && Object.values(value).every(isPositive),
      },
    ),
    liveSecretsPerKey: count(
      5,
      "secrets",
      "Secrets of one key that are valid at once. A rotation a day with the longest grace needs two",
    ),
    maxTtlMs: span(90 * DAY_MS, "Default and longest term of a secret. An unnoticed leak ends by itself"),
    defaultGraceMs: span(24 * HOUR_MS, "Time that a rotated secret stays valid by default: one deployment cycle"),
    maxGraceMs: span(24 * HOUR_MS, "Longest grace that a rotation may ask for"),
    revokeBatchSize: count(
      1000,
      "keys",
      "Keys per transaction of RevokeKeys. Other changes get their turn between two transactions",
    ),
    retentionMs: span(
      396 * DAY_MS,
      "Time that revoked and expired keys stay readable: 13 months cover a year and its last invoice",
    ),
    forgetEveryMs: time(HOUR_MS, "Interval at which the server removes keys beyond the retention"),
    userChangesPerHour: count(
      720,
      "changes per hour",
      "Creations, changes and rotations of one user on one process. Each leaves an audit event for ever; 10 keys that rotate every minute need 600",
    ),
    userChangeBurst: count(120, "changes", "Changes that one user may make at once, before the hourly rate holds"),
    serviceChangesPerHour: count(
      360_000,
      "changes per hour",
      "Changes of one service or administrator on one process: above what a process does for long, below a loop without a pause",
    ),
    serviceChangeBurst: count(20_000, "changes", "Changes that one service or administrator may make at once"),
  },
  access: {
    userGrantableScopes: other<readonly string[]>(["*"], {
      unit: "scopes",
      text: "Scopes, possibly wildcards, that users may grant to their own keys. Scopes of `claviger:` are for administrators only",
      // A user who could grant scopes of Claviger would be an administrator.
      right: 'a list of scopes outside claviger:, such as ["orders:*"]',
      holds: (value) => Array.isArray(value) && value.every(isGrantableScope),
    }),
  },
  audit: {
    sealEveryMs: time(
      SECOND,
      "Interval at which audit events enter the signed chain. An event can be removed from the database unseen only before that",
    ),
  },
  verify: {
    cacheEntries: count(100_000, "secrets", "Secrets that one process keeps in memory"),
    cacheEntryMs: time(5 * MINUTE_MS, "Time after which the server reads a cached secret again"),
    maxFinds: count(
      2,
      "statements",
      "Concurrent look-up statements. Each takes every waiting secret; with 10, two shared cores read half as many secrets",
    ),
    maxReads: count(
      128,
      "secrets",
      "Secrets that are read at once: as many as calls on one connection, and a full batch",
    ),
    crowdedReads: count(
      24,
      "secrets",
      "Secrets that are read at once for a quarter of a second after a refusal. A standing queue adds latency and no throughput",
    ),
    missTimeoutMs: time(
      3 * SECOND,
      "Longest wait for a secret that is not in memory. Verifiers in agents give up after about as long",
    ),
  },
  revocation: {
    leaseMs: {
      default: 3 * SECOND,
      unit: "milliseconds",
      text: "Lease term D, which `CLAVIGER_LEASE_MS` overrides: time that a revocation waits for a dead verifier, and that cached verification survives an outage of Postgres",
      right: "milliseconds from 200 to 60000",
      holds: (value: unknown) => isPositive(value) && Number(value) >= 200 && Number(value) <= 60_000,
    } as PolicyEntry<number>,
    slowChangeMs: time(
      250,
      "Time after which the log names the node or agent that a change waits for: far above a round trip, far below a lease",
    ),
    revocationSetMs: time(
      15 * MINUTE_MS,
      "Longest time without Postgres in which the server answers from memory by the revocation set, where `CLAVIGER_ON_DATABASE_LOSS` is `revocation-set`",
    ),
    trimEveryMs: time(MINUTE_MS, "Interval at which the server trims the feed of changes"),
  },
  usage: {
    flushMs: time(
      SECOND,
      "Interval at which a process sends its counts to Postgres. A killed process loses these counts",
    ),
    foldMs: time(SECOND, "Interval at which the server folds batches of counts into minutes and hours"),
    bufferBytes: count(
      64 * 1024 * 1024,
      "bytes",
      "Memory for counts that Postgres has not taken: an hour without Postgres at 3,000 counted things a minute",
    ),
    minutesMs: span(7 * DAY_MS, "Time that usage can be read by the minute"),
    hoursMs: span(396 * DAY_MS, "Time that usage can be read by the hour"),
    points: count(10_000, "points", "Points in one answer of QueryUsage: a month of hours for a dozen groups"),
    limiterTimeoutMs: time(
      100,
      "Longest wait for a charge. An unreachable Redis adds this much to the verification of a key with limits",
    ),
    renewPartitionsMs: time(HOUR_MS, "Interval at which the server makes and drops partitions of the usage tables"),
    maxReports: count(
      2,
      "reports",
      "Usage reports of agents that are written at once, each on a connection to Postgres. Management leaves two for such work",
    ),
    maxWaitingReports: count(512, "reports", "Usage reports, of about 100 KB each, that wait to be written"),
    reportWaitMs: time(2 * SECOND, "Longest wait of a usage report. An agent gives up its stream after 15 seconds"),
  },
  postgres: {
    poolSize: count(
      10,
      "connections",
      "Connections of one node to Postgres. Beyond twice the cores of a database, connections only queue there",
    ),
    statementTimeoutMs: time(10 * SECOND, "Longest statement. No statement of the server should take a tenth of it"),
    lockTimeoutMs: time(5 * SECOND, "Longest wait for a lock"),
    idleInTransactionTimeoutMs: time(
      SECOND,
      "Longest pause in a transaction. A frozen process must not hold its locks",
    ),
    storageTimeoutMs: time(
      12 * SECOND,
      "Longest wait for storage as a whole: above the statement's, since Postgres' own answer says more",
    ),
    startPatienceMs: time(
      30 * SECOND,
      "Time that a start waits for a Postgres that is starting or failing over: above most failovers",
    ),
    probeEveryMs: time(SECOND, "Interval at which readiness asks Postgres"),
    probeTimeoutMs: time(2 * SECOND, "Longest wait of readiness for an answer of Postgres"),
  },
  redis: {
    timeoutMs: time(50, "Longest wait for Redis on the path of a change. Redis is never what makes a change true"),
  },
  sync: {
    streams: count(
      10_000,
      "streams",
      "Streams of verifiers in agents on one process. Beyond it, each calling key has a fair share",
    ),
    keysPerStream: count(
      50_000,
      "keys",
      "Keys whose changes one stream carries. A verifier that asks for more starts again with an empty memory",
    ),
    waitingBytes: count(1024 * 1024, "bytes", "Messages of one stream that wait to be read. A full answer takes 10 KB"),
    maxTurnMs: time(
      5,
      "Time in one turn of the event loop for messages of all streams. The rest waits for a later turn",
    ),
    closeMs: time(SECOND, "Time for agents to give back their leases when the process stops: a few round trips"),
  },
  port: {
    maxMessageBytes: count(
      64 * 1024,
      "bytes",
      "Longest message. Requests hold a few KiB; Connect's own limit is 4 GiB",
    ),
    maxHeaderBytes: count(16 * 1024, "bytes", "Longest header list of a request"),
    maxConcurrentStreams: count(128, "calls", "Concurrent calls on one connection"),
    idleBytesPerSecond: count(
      64 * 1024,
      "bytes per second",
      "Bytes beside calls on one HTTP/2 connection: 3,800 PING frames",
    ),
    unreadAnswerMs: time(15 * SECOND, "Longest wait of an answer for its client to read it"),
    maxOpenCalls: count(
      20_000,
      "calls",
      "Calls on all connections that may stay open for longer than a tenth of a second. A call that waits holds 45 KB; set fewer below 4 GB of memory",
    ),
    streamResetBurst: count(
      500,
      "calls",
      "Calls that a client may cancel at once. The time-outs of proxies cancel more than the 33 a second of nghttp2",
    ),
    streamResetRate: count(200, "calls per second", "Calls that a client may cancel for long"),
    maxTinyPieces: count(
      1000,
      "pieces",
      "DATA frames and chunks below 64 bytes on one connection, beyond eight for each call and three for each message. Clients send small messages whole",
    ),
    maxConnections: count(
      10_000,
      "connections",
      "Concurrent connections. A further one takes the place of an idle one",
    ),
    defaultDeadlineMs: time(15 * SECOND, "Deadline of a call whose client sets none"),
    maxDeadlineMs: time(2 * MINUTE_MS, "Longest deadline that a client can set"),
    requestTimeoutMs: time(30 * SECOND, "Longest time to send an HTTP/1.1 request"),
    idleTimeoutMs: time(
      5 * MINUTE_MS,
      "Longest idle time of a connection: above the minute of common balancers, so that they close first",
    ),
    drainMs: time(20 * SECOND, "Time for calls to finish after SIGTERM. Orchestrators kill a process after 30 seconds"),
  },
  overload: {
    maxTurnMs: time(
      20,
      "Time in one turn of the event loop in which calls may arrive; later calls are shed. With 10, 14,000 answers a second at twice the capacity were 9,000",
    ),
    maxRoutedTurnMs: time(
      5,
      "The same for calls that go through Connect's router. With 10, p99 at twice the capacity was 111 ms instead of 47 ms",
    ),
    burstCalls: count(128, "calls", "Late calls that are served before the server sheds any"),
    burstApartMs: time(100, "Time without late calls after which a burst is allowed again"),
  },
} as const;

type Entries = typeof POLICY;

/** The values of a policy, by room. */
export type Policy = {
  readonly [Room in keyof Entries]: {
    readonly [Name in keyof Entries[Room]]: Entries[Room][Name] extends PolicyEntry<infer Value> ? Value : never;
  };
};

/** The policy of a server that sets none. */
export const DEFAULT_POLICY = Object.fromEntries(
  Object.entries(POLICY).map(([room, entries]) => [
    room,
    Object.fromEntries(Object.entries(entries).map(([name, entry]) => [name, entry.default])),
  ]),
) as Policy;

function count(standard: number, unit: string, text: string): PolicyEntry<number> {
  return { default: standard, unit, text, right: "a positive whole number", holds: isPositive };
}

/** A time that a timer is set to. */
function time(standard: number, text: string): PolicyEntry<number> {
  return upTo(LONGEST_TIMER_SETTING_MS, { default: standard, text });
}

/** A time that no timer is set to. */
function span(standard: number, text: string): PolicyEntry<number> {
  return upTo(LONGEST_SPAN_MS, { default: standard, text });
}

function upTo(longestMs: number, entry: Pick<PolicyEntry<number>, "default" | "text">): PolicyEntry<number> {
  return {
    ...entry,
    unit: "milliseconds",
    right: `a positive whole number of milliseconds, at most ${longestMs}`,
    holds: (value) => isPositive(value) && Number(value) <= longestMs,
  };
}

function other<Value>(standard: Value, entry: Omit<PolicyEntry, "default">): PolicyEntry<Value> {
  return { default: standard, ...entry };
}

function isPositive(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) > 0;
}

function isGrantableScope(scope: unknown): boolean {
  const form = /^(\*|[a-z0-9_.-]+(:[a-z0-9_.-]+)*(:\*)?)$/;
  return typeof scope === "string" && form.test(scope) && !isOwnScope(scope);
}
