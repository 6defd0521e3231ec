const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** The numbers that somebody may want to change, by `CLAVIGER_POLICY`. Times are in milliseconds. */
export const DEFAULT_POLICY = {
  /** Begins every secret, so that people and scanners recognise it. */
  brand: "clv",
  /** Keys per owner that are neither revoked nor expired: what the users of the service asked for. */
  keysPerOwner: 10,
  /** The same for owners that begin with a prefix, such as `{"svc:": 100}`; the longest prefix that fits counts. */
  keysPerOwnerPrefix: {} as Readonly<Record<string, number>>,
  /** Scopes, possibly wildcards, that users may grant to their own keys: any outside `claviger:`. */
  userGrantableScopes: ["*"] as readonly string[],
  /** Live secrets per key: a rotation a day with the longest grace needs two. */
  liveSecretsPerKey: 5,
  /** Default and longest term of a secret: a leak that nobody notices ends by itself. */
  maxTtlMs: 90 * DAY,
  /** How long a rotated secret stays valid: one deployment cycle. */
  defaultGraceMs: 24 * HOUR,
  /** Longest grace that a rotation may ask for. */
  maxGraceMs: 24 * HOUR,
  /** Lease term D: how long a Postgres outage cached verification rides out, and a revocation waits for a dead holder. */
  leaseMs: 3 * SECOND,
  /** ε: by how much the rates of two clocks may differ. */
  clockRateError: 0.02,
  /** Secrets that a verifier keeps in memory. */
  cacheEntries: 100_000,
  /** After this long a kept secret is read again, whatever it says. */
  cacheEntryMs: 5 * MINUTE,
  /** Statements that read secrets at once, each all that wait: with 10, two shared cores read half as many. */
  mostFinds: 2,
  /** … and how long one that hangs makes others wait. */
  findWaitMs: 100,
  /** Secrets that are read at once: as many as calls on one connection, so that nobody alone is refused; and a full batch. */
  mostReads: 128,
  /** … and where that is not enough, for as long after the last that was refused: above most pauses of a collector. */
  crowdedReads: 24,
  crowdedMs: 250,
  /**
   * How long calls may go on coming in at once: an answer waits for all that come with it, and for those before. Past the
   * router a refusal takes half as long as an answer: with 10, 14,000 answers a second at twice the capacity were 9,000.
   */
  mostTurnMs: 20,
  /** … and those that Connect's router serves: with 10, p99 at twice the capacity was 111 ms instead of 47. */
  mostRoutedTurnMs: 5,
  /** What comes later is refused beyond a burst, unless it is alone; the next may come soon. */
  burstCalls: 128,
  burstApartMs: 100,
  /** Streams of verifiers inside agents at once on one process; beyond it, each calling key has a fair share. */
  syncStreams: 10_000,
  /** Keys that one of them is told of changes of; beyond it, it begins anew. */
  syncKeys: 50_000,
  /** Questions of one of them that are worked on at once: as many as calls on a connection. */
  syncAsks: 128,
  /** Messages of one of them that wait to be read, and bytes of those: a full answer takes 10 KB. */
  syncWaiting: 2000,
  syncWaitingBytes: 1024 * 1024,
  /** How long their messages are handled in one turn of the event loop; what comes beyond waits for a later turn. */
  mostSyncTurnMs: 5,
  /** Usage reports written at once, on as many connections to Postgres: management leaves two for such work. */
  mostReports: 2,
  /** Reports that wait for that, of about 100 KB each, and for how long: an agent gives up a stream after 15 s. */
  mostWaitingReports: 512,
  reportWaitMs: 2 * SECOND,
  /** How long they have to give their leases back when the process stops: a few round trips. */
  syncCloseMs: SECOND,
  /** Longest wait for the read of a secret that is not kept: an agent gives up about then. */
  missTimeoutMs: 3 * SECOND,
  /** How often the registry is read while somebody waits for acknowledgements. */
  barrierPollMs: 25,
  /** After this long a change is pushed once more: a lost message is rarer than a slow one. */
  pushAgainMs: 50,
  /** From when on the log names a node or an agent that a change waits for: far above a round trip, far below a lease. */
  slowChangeMs: 250,
  /** Longest wait for Redis: it is never what makes anything true. */
  redisTimeoutMs: 50,
  /** How long without Postgres kept secrets may go on by the revocation set. */
  revocationSetMs: 15 * MINUTE,
  /** How long changes stay in the feed: above the time that a verifier may live on the revocation set. */
  feedKeptMs: 20 * MINUTE,
  /** How often the feed is trimmed. */
  trimEveryMs: MINUTE,
  /** Keys per transaction when many are revoked: short enough for others to get in between. */
  revokeBatchSize: 1000,
  /** How long revoked and expired keys stay readable: 13 months, a year and its last invoice. */
  retentionMs: 396 * DAY,
  /** How often audit events get their place in the chain: how long somebody with the database could remove one unseen. */
  sealEveryMs: SECOND,
  /** How often a process sends what it counted: what a kill loses. */
  flushUsageMs: SECOND,
  /** Memory for counts that the ledger does not have: an hour without Postgres at 3,000 counted things a minute. */
  usageBytes: 64 * 1024 * 1024,
  /** Rows of counts in one batch: it folds in well under a statement's time. */
  usageBatchRows: 20_000,
  /** How often batches are folded into minutes and hours, and how many rows at once. */
  foldUsageMs: SECOND,
  foldRows: 20_000,
  /** How long usage can be read by the minute, and by the hour. */
  usageMinutesMs: 7 * DAY,
  usageHoursMs: 396 * DAY,
  /** Points of one answer about usage: a month of hours for a dozen groups. */
  usagePoints: 10_000,
  /** How often partitions for usage are made and dropped. */
  renewPartitionsMs: HOUR,
  /** Longest wait for a charge: what a Redis that is away adds to a verification of a key with limits. */
  limiterTimeoutMs: 100,
  /** Keys with limits that one process remembers when it runs alone. */
  limitedKeys: 100_000,
  /** How often keys beyond the retention are removed. */
  forgetEveryMs: HOUR,
  /**
   * Creations, changes and rotations of one user through one process. Each leaves an audit event for ever: 10 keys that
   * rotate every minute need 600 an hour.
   */
  userChangesPerHour: 720,
  userChangeBurst: 120,
  /** … and of one service or administrator: more than one process can do for long, less than a loop without a pause. */
  serviceChangesPerHour: 360_000,
  serviceChangeBurst: 20_000,

  /** Connections to Postgres: beyond about twice a database's cores they only queue there. */
  poolSize: 10,
  /** Longest statement. No statement here should take a tenth of it. */
  statementTimeoutMs: 10 * SECOND,
  /** Longest wait for a lock. */
  lockTimeoutMs: 5 * SECOND,
  /** How long a transaction may be idle: a frozen process must not hold its locks. */
  idleInTransactionTimeoutMs: SECOND,
  /** Longest wait for storage as a whole: above the statement's, since Postgres' own answer says more. */
  storageTimeoutMs: 12 * SECOND,
  /** How long a start waits for a Postgres that is starting or failing over: above most failovers. */
  startPatienceMs: 30 * SECOND,
  /** How often readiness asks Postgres, and how long it waits for the answer. */
  probeEveryMs: SECOND,
  probeTimeoutMs: 2 * SECOND,

  /** Longest message: a request holds a few KiB. Connect's own limit is 4 GiB. */
  maxMessageBytes: 64 * 1024,
  /** Longest header list of a request. */
  maxHeaderBytes: 16 * 1024,
  /** Header fields of a request. */
  maxHeaders: 100,
  /** Calls under way at once on one connection. */
  maxConcurrentStreams: 128,
  /** Bytes a second beside calls on one HTTP/2 connection: 3,800 PINGs. */
  idleBytesPerSecond: 64 * 1024,
  /** How long an answer may wait for its client to take it. */
  unreadAnswerMs: 15 * SECOND,
  /**
   * Calls that may stay open on all connections for longer than a tenth of a second: a call that waits, for its request
   * or for its client to take the answer, holds 45 KB.
   */
  mostOpenCalls: 20_000,
  /** Answers that may wait on a connection that takes next to nothing, and how long more may: who reads needs neither. */
  mostUnreadAnswers: 32,
  deafMs: SECOND,
  /** Calls that a client may take back at once, and then a second: a proxy's timeouts are more than nghttp2's 33. */
  streamResetBurst: 500,
  streamResetRate: 200,
  /** Wrong or empty frames, and refused calls, in the life of one HTTP/2 connection: as Node (26) has them. */
  maxSessionInvalidFrames: 1000,
  maxSessionRejectedStreams: 100,
  /**
   * DATA frames and chunks below 64 bytes on one connection, beyond eight for each call and message. Clients that stream
   * small messages send whole ones.
   */
  mostTinyPieces: 1000,
  /**
   * How long new connections wait from where one flooded, unless the address has others that behave: half of what the
   * SDK gives a connection (`PATIENCE_MS`), so that a verifier behind the same address still attaches.
   */
  returnMs: 750,
  /** Connections at once; beyond it, a new one takes the place of an idle one. */
  maxConnections: 10_000,
  /** Deadline of a call whose client sets none, and the longest that a client can set. */
  defaultDeadlineMs: 15 * SECOND,
  maxDeadlineMs: 2 * MINUTE,
  /** Time to say which HTTP version is spoken, to send an HTTP/1.1 head, to send it all. */
  firstByteTimeoutMs: 10 * SECOND,
  headersTimeoutMs: 10 * SECOND,
  requestTimeoutMs: 30 * SECOND,
  /** How long a connection may be idle: above the minute of common balancers, so that they close first. */
  idleTimeoutMs: 5 * MINUTE,
  /** How long calls in flight may take to finish after SIGTERM: orchestrators kill after 30 s. */
  drainMs: 20 * SECOND,
} as const;

/** A policy has the shape of the default, with other values. */
export type Policy = {
  readonly [Name in keyof typeof DEFAULT_POLICY]: (typeof DEFAULT_POLICY)[Name] extends number
    ? number
    : (typeof DEFAULT_POLICY)[Name] extends string
      ? string
      : (typeof DEFAULT_POLICY)[Name] extends readonly string[]
        ? readonly string[]
        : Readonly<Record<string, number>>;
};
