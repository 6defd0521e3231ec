import { timestampDate } from "@bufbuild/protobuf/wkt";
import { isKeyId } from "../../keys/key.ts";
import { readSecretForm } from "../../keys/secret-form.ts";
import { DEFAULT_URL } from "../../system/addresses.ts";
import { CLOCK_RATE_ERROR } from "../../system/clocks.ts";
import {
  systemClocks as clocks,
  holdProcess,
  pause,
  systemRandom as random,
  systemTimers as timers,
} from "../../system/node.ts";
import { UsageFlusher } from "../../usage/flusher.ts";
import { UsageRecorder } from "../../usage/recorder.ts";
import { Lease } from "../../verify/lease.ts";
import { SecretCache } from "../../verify/secret-cache.ts";
import { KEY_SOURCE, type KeySource } from "../attach/key-source.ts";
import { attachKey } from "../connect/attach-key.ts";
import type { Verifier } from "../verification.ts";
import { AnyServer, type NodeOptions } from "./any-server.ts";
import type { PreparedAnswer } from "./cached-answer.ts";
import { checkOptions, FUNCTION, MILLISECONDS, OBJECT, type Rules } from "./check-options.ts";
import { noToken, readEnvironment, tokenOf } from "./environment.ts";
import { InProcessVerifier } from "./in-process-verifier.ts";
import { openChannel } from "./open-channel.ts";
import { SyncLink } from "./sync-link.ts";
import { carryTrace } from "./trace-context.ts";
import { createLedgerOverSync, REPORT_ROWS } from "./usage-over-sync.ts";
import { UsageReporter } from "./usage-reporter.ts";
import { type VerifierWarning, warnProcess } from "./verifier-warning.ts";
import { Warnings } from "./warnings.ts";

export interface VerifierOptions {
  /** The address of Claviger, `http://host:port`; several for one cluster. Default: `CLAVIGER_URL`, or 127.0.0.1:4640. */
  readonly url?: string | readonly string[];
  /**
   * A key with the scope `claviger:verify`, or its source: `fromFile(path)` follows a rotation. Default: `CLAVIGER_TOKEN`,
   * or the file that `CLAVIGER_TOKEN_FILE` names.
   */
  readonly token?: KeySource;
  /** Limit on secrets in memory, about 1 KB each with its counts. Default 10,000; a node tracks 50,000 keys for one verifier. */
  readonly capacity?: number;
  /** Milliseconds between two reports of usage. A kill loses the counts of this time. Default 15,000. */
  readonly reportEveryMs?: number;
  /**
   * Milliseconds for a question without an answer in memory: its wait for a slot, the stream, and calls together. A stream
   * that does not answer gets half of it. `close` also tries for this time to send the counted usage. Default 6,000: a
   * server with a hanging database needs up to 3 s of each half.
   */
  readonly timeoutMs?: number;
  /** Options of Node's connections, such as certificates for `https:`. */
  readonly nodeOptions?: NodeOptions;
  /** Called with the reason for each stream that broke. Default: no function; `fresh` shows it too. */
  readonly onBroken?: (error: unknown) => void;
  /**
   * Called when the verifier cannot work: once for each cause, and again after a recovery, at most once a minute. Also
   * called 14, 3 and 1 days before its own key expires. Default: `process.emitWarning`.
   */
  readonly onWarning?: (warning: VerifierWarning) => void;
}

/** Limit on the entries of one map of V8. */
const MAX_CAPACITY = 2 ** 24;

const RULES: Rules<VerifierOptions> = {
  url: {
    right: "http://host:port, or an array of such addresses",
    holds: (value) => [value].flat().every((url) => typeof url === "string" && url !== ""),
  },
  token: KEY_SOURCE,
  capacity: {
    right: `a whole number from 1 to ${MAX_CAPACITY}`,
    holds: (value) => Number.isInteger(value) && Number(value) >= 1 && Number(value) <= MAX_CAPACITY,
  },
  reportEveryMs: MILLISECONDS,
  timeoutMs: MILLISECONDS,
  nodeOptions: OBJECT,
  onBroken: FUNCTION,
  onWarning: FUNCTION,
};

const FORMS = { isSecret: (text: string) => readSecretForm(text) !== undefined, isKeyId };
/** Milliseconds after which an entry is read again, whatever it contains; the same as on servers. */
const ENTRY_MS = 5 * 60_000;
/** Milliseconds for which the verifier waits for a lease: half of the default term of 3 seconds. */
const PATIENCE_MS = 1500;
const RETRY_MS = { first: 100, max: 5000 };
/**
 * Memory for usage counts that have not been reported: at least two rows with a method for each secret in memory, since
 * a report may take longer than a minute lasts. With less, an agent that uses all of its secrets would drop methods.
 */
const USAGE_BYTES = { least: 16 * 1024 * 1024, perSecret: 1000 };

/**
 * Verifies secrets in this process: in microseconds while it holds a lease, and by a call otherwise. It attaches in the
 * background, so that its first use need not wait.
 *
 * @example
 * const verifier = createVerifier({ url: "http://127.0.0.1:4640", token: fromFile("/run/secrets/claviger") });
 * const { verdict, key } = await verifier.verify(secret, { scopes: ["orders:read"] });
 * @throws TypeError for a wrong or unknown option
 * @throws Error without a token
 */
export function createVerifier(options: VerifierOptions = {}): Verifier {
  checkOptions("createVerifier", options, RULES);
  const environment = readEnvironment();
  const urls = [options.url ?? environment.url ?? DEFAULT_URL].flat().map(checkUrl);
  if (urls.length === 0) throw new Error("createVerifier: url has no address. Pass http://host:port, or leave url out");
  const { nodeOptions, onBroken, capacity = 10_000, reportEveryMs = 15_000, timeoutMs = 6000 } = options;
  const { onWarning = warnProcess } = options;
  const own = options.token === undefined ? tokenOf(environment, onWarning) : { token: options.token };
  const { token } = own;
  if (token === "") throw noToken();
  const warnings = new Warnings({ onWarning, clocks, isTokenReported: typeof token === "object" });
  const interceptors = [attachKey(token)];
  const jitter = () => (random(1)[0] ?? 0) / 255;
  const lease = new Lease(clocks);
  const cache = new SecretCache<PreparedAnswer>({ lease, clocks, random, capacity, maxAgeMs: ENTRY_MS });
  let next = Math.floor(jitter() * urls.length);
  const url = () => urls[next % urls.length] ?? DEFAULT_URL;
  const link = new SyncLink({
    lease,
    cache,
    clocks,
    timers,
    jitter,
    clockRateError: CLOCK_RATE_ERROR,
    patienceMs: PATIENCE_MS,
    retryMs: RETRY_MS,
    open: (listener) => {
      next += 1;
      return openChannel(url(), listener, { interceptors, nodeOptions, timers });
    },
    onBroken: (error) => {
      // While the lease runs nothing is amiss yet, so that a restart of the server causes no warning.
      if (!lease.isLive()) warnings.met(error, url());
      onBroken?.(error);
    },
    onGranted: ({ credentialExpireTime }, isFirst) => {
      if (isFirst) warnings.over();
      warnings.tokenEnds(credentialExpireTime && timestampDate(credentialExpireTime));
    },
  });
  const budgetBytes = Math.max(USAGE_BYTES.least, USAGE_BYTES.perSecret * capacity);
  const recorder = new UsageRecorder({ clocks, budgetBytes });
  const ledger = createLedgerOverSync(link);
  const flusher = new UsageFlusher({ recorder, ledger, random, clocks, batchRows: REPORT_ROWS });
  const verifier = new InProcessVerifier({
    link,
    lease,
    cache,
    recorder,
    reporter: new UsageReporter({ flusher, clocks, timers, pause, everyMs: reportEveryMs }),
    servers: new AnyServer(urls, { interceptors: [...interceptors, carryTrace], nodeOptions, clocks }),
    warnings,
    clocks,
    timers,
    pause,
    holdProcess,
    clockRateError: CLOCK_RATE_ERROR,
    timeoutMs,
    forms: FORMS,
    onClosed: own.close,
  });
  verifier.start();
  return verifier;
}

function checkUrl(text: string): string {
  const url = URL.parse(text);
  const isHttp = url?.protocol === "http:" || url?.protocol === "https:";
  if (url === null || !isHttp || url.username !== "" || url.password !== "") {
    throw new TypeError("createVerifier: invalid server URL. Write it as http://127.0.0.1:4640");
  }
  if (url.pathname !== "/" || url.search !== "" || url.hash !== "") {
    throw new TypeError(
      `createVerifier: the server URL has more than a port after the host. Write it as ${url.origin}`,
    );
  }
  return url.origin;
}
