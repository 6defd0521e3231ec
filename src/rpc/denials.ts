import type { Logger } from "pino";
import { actorOf, type Caller, callerId } from "../access/caller.ts";
import { ClavigerError, type Reason } from "../keys/errors.ts";
import type { Denial } from "../manage/steps/record.ts";

const MANAGEMENT = "claviger.v1.KeyManagement/";

/**
 * Refusals that are recorded, if the caller is known. Those of unknown callers are not recorded: any client could fill
 * the log.
 */
const DENIALS: ReadonlySet<Reason> = new Set<Reason>([
  "CREDENTIAL_INVALID",
  "PERMISSION_DENIED",
  "SCOPE_NOT_GRANTABLE",
]);

/** How long further denials of a caller for one reason are only counted. */
const SPAN_MS = 60_000;

/** Keys in whose logs the denials of one span are written, once each; those of further keys are only counted. */
const MOST_KEYS = 10;

/** Callers and reasons that are counted at once; beyond it, the oldest span ends early. */
const MOST_SPANS = 10_000;

/** A call that ended in an error. */
export interface RefusedCall {
  readonly caller: Caller;
  readonly method: string;
  readonly error: unknown;
  /** The key or owner that the call acted upon, as far as it was read. */
  readonly about: { readonly keyId?: string; readonly owner?: string };
}

/** Remembers the call in the audit log if it was a denial; never fails. */
export type DenialRecorder = (call: RefusedCall) => Promise<void>;

export interface DenialsOptions {
  readonly write: (caller: Caller, denial: Denial) => Promise<void>;
  readonly log: Logger;
  /** Called with each failure to write a denial, and after each success. */
  readonly onFailure: (error: unknown) => void;
  readonly onWritten: () => void;
  readonly monotonicMs: () => number;
}

/** Denials of one caller for one reason since the first of them, which is written. */
interface Span {
  readonly untilMs: number;
  readonly reason: Reason;
  caller: Caller;
  readonly keys: Set<string>;
  /** The methods of the denials that are counted and not written. */
  readonly methods: Set<string>;
  count: number;
}

/**
 * Audits denied management calls: the first of each caller and reason at once, further ones within a minute as one event
 * with their number. A killed process loses the numbers of its last minute.
 */
export class Denials {
  readonly #options: DenialsOptions;
  /** In the order of their ends. */
  readonly #spans = new Map<string, Span>();

  constructor(options: DenialsOptions) {
    this.#options = options;
  }

  readonly record: DenialRecorder = async ({ caller, method, error, about }) => {
    if (!method.startsWith(MANAGEMENT) || caller.kind === "anonymous") return;
    if (!(error instanceof ClavigerError) || !DENIALS.has(error.reason)) return;
    const { reason } = error;
    const name = method.slice(MANAGEMENT.length);
    void this.flush();
    const id = `${reason} ${callerId(caller)}`;
    const { keyId = "" } = about;
    const known = this.#spans.get(id);
    const span = known ?? this.#begin(id, { reason, caller });
    if (known !== undefined && (keyId === "" || known.keys.has(keyId) || known.keys.size >= MOST_KEYS)) {
      known.caller = caller;
      known.methods.add(name);
      known.count += 1;
      return;
    }
    if (keyId !== "") span.keys.add(keyId);
    if (await this.#write(caller, { methods: [name], reason, ...about })) return;
    // A denial that could not be written is counted with the later ones.
    span.methods.add(name);
    span.count += 1;
  };

  /** Writes the numbers of the spans that are over. */
  async flush(): Promise<void> {
    const nowMs = this.#options.monotonicMs();
    const over: Span[] = [];
    for (const [id, span] of this.#spans) {
      if (span.untilMs > nowMs && this.#spans.size <= MOST_SPANS) break;
      this.#spans.delete(id);
      over.push(span);
    }
    await this.#writeCounts(over);
  }

  /** Writes all numbers: the process ends. */
  async close(): Promise<void> {
    const spans = [...this.#spans.values()];
    this.#spans.clear();
    await this.#writeCounts(spans);
  }

  #begin(id: string, about: Pick<Span, "reason" | "caller">): Span {
    const untilMs = this.#options.monotonicMs() + SPAN_MS;
    const span = { ...about, untilMs, keys: new Set<string>(), methods: new Set<string>(), count: 0 };
    this.#spans.set(id, span);
    return span;
  }

  async #writeCounts(spans: readonly Span[]): Promise<void> {
    const counted = spans.filter(({ count }) => count > 0);
    await Promise.all(
      counted.map(({ caller, reason, methods, count }) =>
        this.#write(caller, { methods: [...methods], reason, count }),
      ),
    );
  }

  /** Whether it was written. A denial that cannot be is logged as a call is: it stands either way. */
  async #write(caller: Caller, denial: Denial): Promise<boolean> {
    const { write, log, onFailure, onWritten } = this.#options;
    try {
      await write(caller, denial);
      onWritten();
      return true;
    } catch (err) {
      const { requestId } = caller;
      onFailure(err);
      const about = { requestId, actor: actorOf(caller), ...denial, err };
      log.info(about, "a denial could not be written to the audit log");
      return false;
    }
  }
}
