import type { Clocks } from "../../system/clocks.ts";
import { createListener } from "./listener.ts";
import { type Trouble, troubleOf } from "./trouble.ts";
import { VerifierWarning, type WarningCode } from "./verifier-warning.ts";

export interface WarningsOptions {
  readonly onWarning: (warning: VerifierWarning) => void;
  readonly clocks: Clocks;
  /** Whether the source of the verifier's own key tells by itself that there is none, as a key file does. */
  readonly isTokenTold?: boolean;
}

/** A cause that comes again within this many milliseconds of its last warning is not told again. */
const QUIET_MS = 60_000;
const DAY_MS = 24 * 60 * 60_000;
/** Days before the end of the verifier's own key at which it warns. */
const DAYS_BEFORE_END = [14, 3, 1] as const;

/** Tells the operator what keeps the verifier from its work, once for each cause, and that its own key is about to end. */
export class Warnings {
  readonly #clocks: Clocks;
  readonly #isTokenTold: boolean;
  readonly #tell: (warning: VerifierWarning) => void;
  /** When each cause was told. */
  readonly #told = new Map<WarningCode, { readonly atMs: number; isOver: boolean }>();
  #tokenEnd: { readonly atMs: number; nearest: number } | undefined;

  constructor({ onWarning, clocks, isTokenTold = false }: WarningsOptions) {
    this.#clocks = clocks;
    this.#isTokenTold = isTokenTold;
    this.#tell = createListener("onWarning", onWarning);
  }

  /** When the verifier's own key ends; undefined while no server has said it. */
  get tokenExpireTime(): Date | undefined {
    return this.#tokenEnd && new Date(this.#tokenEnd.atMs);
  }

  /** Something keeps the verifier from its work. */
  met(error: unknown, url?: string): Trouble {
    const trouble = troubleOf(error, url);
    if (trouble.code === "CLAVIGER_TOKEN_MISSING" && this.#isTokenTold) return trouble;
    const nowMs = this.#clocks.monotonicMs();
    const told = this.#told.get(trouble.code);
    if (told === undefined || (told.isOver && nowMs - told.atMs >= QUIET_MS)) {
      this.#told.set(trouble.code, { atMs: nowMs, isOver: false });
      this.#tell(new VerifierWarning(trouble.code, trouble.message, error));
    }
    return trouble;
  }

  /** The verifier works again: what comes now is another outage. */
  over(): void {
    for (const told of this.#told.values()) told.isOver = true;
  }

  /** A server has said when the verifier's own key ends; undefined: it does not, or that server does not say it. */
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
      `the key that this verifier calls Claviger with ends at ${end.toISOString()}, in less than ${reached} ` +
      `${reached === 1 ? "day" : "days"}; then no key can be verified here. Rotate it (\`claviger keys rotate\`), and put ` +
      "the new secret in its place";
    this.#tell(new VerifierWarning("CLAVIGER_TOKEN_ENDS", message));
  }
}
