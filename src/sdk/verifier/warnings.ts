import { type Clocks, DAY_MS } from "../../system/clocks.ts";
import { createListener } from "./listener.ts";
import { type Trouble, troubleOf } from "./trouble.ts";
import { VerifierWarning, type WarningCode } from "./verifier-warning.ts";

export interface WarningsOptions {
  readonly onWarning: (warning: VerifierWarning) => void;
  readonly clocks: Clocks;
  /** Whether the source of the verifier's own key reports a missing key itself, as a key file does. */
  readonly isTokenReported?: boolean;
}

/** Milliseconds after a warning for which the same cause is not reported again. */
const QUIET_MS = 60_000;
/** Days before the verifier's own key expires at which it warns. */
const DAYS_BEFORE_END = [14, 3, 1] as const;

/** Warns the operator once for each cause that keeps the verifier from its work, and before its own key expires. */
export class Warnings {
  readonly #clocks: Clocks;
  readonly #isTokenReported: boolean;
  readonly #warn: (warning: VerifierWarning) => void;
  /** When each cause was reported. */
  readonly #reported = new Map<WarningCode, { readonly atMs: number; isOver: boolean }>();
  #tokenEnd: { readonly atMs: number; nearest: number } | undefined;

  constructor({ onWarning, clocks, isTokenReported = false }: WarningsOptions) {
    this.#clocks = clocks;
    this.#isTokenReported = isTokenReported;
    this.#warn = createListener("onWarning", onWarning);
  }

  /** When the verifier's own key expires; undefined until a server has reported it. */
  get tokenExpireTime(): Date | undefined {
    return this.#tokenEnd && new Date(this.#tokenEnd.atMs);
  }

  /** Reports an error that keeps the verifier from its work. */
  met(error: unknown, url?: string): Trouble {
    const trouble = troubleOf(error, url);
    if (trouble.code === "CLAVIGER_TOKEN_MISSING" && this.#isTokenReported) return trouble;
    const nowMs = this.#clocks.monotonicMs();
    const reported = this.#reported.get(trouble.code);
    if (reported === undefined || (reported.isOver && nowMs - reported.atMs >= QUIET_MS)) {
      this.#reported.set(trouble.code, { atMs: nowMs, isOver: false });
      this.#warn(new VerifierWarning(trouble.code, trouble.message, error));
    }
    return trouble;
  }

  /** The verifier works again: the next error is a new outage. */
  over(): void {
    for (const reported of this.#reported.values()) reported.isOver = true;
  }

  /** A server has reported when the verifier's own key expires; undefined if it does not expire or the server is older. */
  tokenEnds(end: Date | undefined): void {
    if (end === undefined) {
      this.#tokenEnd = undefined;
      return;
    }
    const atMs = end.getTime();
    if (this.#tokenEnd?.atMs !== atMs) this.#tokenEnd = { atMs, nearest: Number.POSITIVE_INFINITY };
    const leftMs = atMs - this.#clocks.wallMs();
    const reached = DAYS_BEFORE_END.filter((days) => leftMs <= days * DAY_MS).at(-1);
    if (reached === undefined || this.#tokenEnd === undefined || reached >= this.#tokenEnd.nearest) return;
    this.#tokenEnd.nearest = reached;
    const message =
      `the verifier's own key expires at ${end.toISOString()}, in less than ${reached} ` +
      `${reached === 1 ? "day" : "days"}; then no key can be verified here. Rotate it (\`claviger keys rotate\`) and put ` +
      "the new secret in its place";
    this.#warn(new VerifierWarning("CLAVIGER_TOKEN_ENDS", message));
  }
}
