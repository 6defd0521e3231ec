/** The reaction to an error of Redis. */
interface Decision {
  /** Closes the connection and opens another one: to the current master, or with a new handshake. */
  readonly leaves: boolean;
  /** Advice for the operator. */
  readonly advice: string;
}

const WRITES = "See why Redis refuses writes";
const ACCESS = "Correct the user and the password in REDIS_URL, or REDIS_SENTINEL_PASSWORD for sentinels";
const WAIT = "Wait until Redis is ready";
const CERTIFICATE = "Name the CA of Redis in REDIS_TLS_CA, and its name in REDIS_URL as the certificate has it";
const CLIENT_CERTIFICATE = "Give a client certificate in REDIS_TLS_CERT and REDIS_TLS_KEY";
const ADDRESS = "Start Redis, or correct its address in REDIS_URL";
const DEFECT = "Please report it";

const stay = (advice: string): Decision => ({ leaves: false, advice });
const leave = (advice: string): Decision => ({ leaves: true, advice });

/**
 * Every class of error replies (redis.io/docs, `server.c` and `cluster.c` of Redis 7). For callers each is a failed
 * command: a charge that `CLAVIGER_ON_LIMITER_LOSS` decides on, or a revocation that waits for renewals. No command is
 * sent twice, except those that a cluster has not executed: ioredis follows `MOVED`, `ASK`, `TRYAGAIN` and
 * `CLUSTERDOWN` of a cluster, and reports them here if they persist.
 */
export const REPLY_ERRORS: Readonly<Record<string, Decision>> = {
  READONLY: leave("Redis is a replica now. Let REDIS_URL lead to the master"),
  NOAUTH: leave(ACCESS),
  WRONGPASS: leave(ACCESS),
  NOPERM: stay("Give the user the commands and names that docs/operate/redis.md lists"),
  LOADING: stay(WAIT),
  BUSY: stay("End the script that keeps Redis busy (SCRIPT KILL)"),
  UNKILLABLE: stay("A script that keeps Redis busy has written already. Wait for it, or restart Redis"),
  MASTERDOWN: stay("Redis is a replica without its master. Let REDIS_URL lead to the master"),
  OOM: stay("Give Redis more memory (maxmemory), or let it evict keys"),
  MISCONF: stay(`${WRITES}: it cannot save its data`),
  NOREPLICAS: stay(`${WRITES}: too few replicas follow it (min-replicas-to-write)`),
  CLUSTERDOWN: stay("See why the cluster is down (CLUSTER INFO)"),
  TRYAGAIN: stay("Wait for the end of the reshard"),
  MOVED: stay("Redis is a node of a cluster. Name several of its nodes in REDIS_URL, with commas"),
  ASK: stay("Redis is a node of a cluster. Name several of its nodes in REDIS_URL, with commas"),
  CROSSSLOT: stay(DEFECT),
  NOSCRIPT: stay(DEFECT),
  WRONGTYPE: stay("Another program uses names that begin with claviger:. Give each a Redis of its own"),
};

/** Errors of the network and of TLS, by their `code`. OpenSSL names the problem in the code. */
const NETWORK_ERRORS: readonly (readonly [code: RegExp, advice: string])[] = [
  [/CERTIFICATE_REQUIRED|BAD_CERTIFICATE|HANDSHAKE_FAILURE|UNKNOWN_CA/, CLIENT_CERTIFICATE],
  [/CERT|^UNABLE_TO|ALTNAME/, CERTIFICATE],
  [/SSL_WRONG_VERSION_NUMBER|SSL_PACKET_LENGTH/, "Redis speaks no TLS there: give redis:// instead of rediss://"],
  // If Redis requires a client certificate with TLS 1.3, the connection may be reset before Redis has said so.
  [
    /^ECONNRESET$|^EPIPE$/,
    "If Redis speaks TLS there, give rediss:// instead of redis://, and REDIS_TLS_CERT if it wants a client certificate",
  ],
  [/^E(ACCES|PERM)$/, "Let the server's user open the socket of Redis"],
  [/^E[A-Z_]+$/, ADDRESS],
];

const CODES = new RegExp(`\\b(${Object.keys(REPLY_ERRORS).join("|")})\\b`);

/** Whether to leave the connection that gave this answer. Scripts of Redis 6 have the class inside of their message. */
export function leavesConnection(error: Error): boolean {
  return decisionOn(error.message)?.leaves ?? false;
}

/** The problem and the remedy, without a password: ioredis keeps that beside the message, in `command`. */
export function describeRedisError(error: unknown): string {
  const { message, code } = innermost(error);
  const advice =
    decisionOn(message)?.advice ??
    NETWORK_ERRORS.find(([pattern]) => pattern.test(code))?.[1] ??
    (/^Cluster isn't ready/.test(message) ? "See whether the cluster is formed (CLUSTER INFO)" : ADDRESS);
  return `${plain(message)}. ${advice}`;
}

function decisionOn(message: string): Decision | undefined {
  const [, code = ""] = CODES.exec(message) ?? [];
  return REPLY_ERRORS[code];
}

/** A cluster reports that all nodes failed, and keeps the last reason apart. */
function innermost(error: unknown): { readonly message: string; readonly code: string } {
  if (!(error instanceof Error)) return { message: String(error), code: "" };
  if ("lastNodeError" in error && error.lastNodeError instanceof Error) return innermost(error.lastNodeError);
  return { message: error.message || error.name, code: "code" in error ? String(error.code) : "" };
}

/** Rewords messages of the library for operators. */
function plain(message: string): string {
  if (/^Command timed out|^Socket timeout/.test(message)) return "Redis does not answer";
  if (/^Stream isn't writeable|^Connection is closed|^Cluster isn't ready/.test(message))
    return "there is no connection";
  return message.replace(/^All sentinels are unreachable.*Last error: /, "no sentinel helps: ").replace(/\.$/, "");
}
