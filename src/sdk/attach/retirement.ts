import type { Secret } from "../../keys/secret.ts";
import { createListener } from "../verifier/listener.ts";

/** The trailer, or the header of an error, in which a service says when the caller's secret retires. */
export const SECRET_RETIRES = "claviger-secret-retires";

/** Calls `onRetiring` once for each secret that retires. A value that is not an instant is ignored. */
export class RetirementNotice {
  readonly #onRetiring: (instant: Date) => void;
  #reported: Secret | undefined;

  constructor(onRetiring: (instant: Date) => void = warn) {
    this.#onRetiring = createListener("onRetiring", onRetiring);
  }

  /**
   * @param value of `claviger-secret-retires` in the answer to a call with that secret: an RFC 3339 instant, if any. The
   * first counts if header and trailer are joined with a comma
   */
  read(secret: Secret, value: string | null | undefined): void {
    const [first] = value?.split(",") ?? [];
    const instant = first ? new Date(first) : undefined;
    if (instant === undefined || Number.isNaN(instant.getTime())) return;
    if (this.#reported?.reveal() === secret.reveal()) return;
    this.#reported = secret;
    this.#onRetiring(instant);
  }
}

function warn(instant: Date): void {
  process.emitWarning(
    `the secret that this process calls with retires at ${instant.toISOString()}. Replace it by the new secret of its key`,
    { type: "ClavigerWarning", code: "CLAVIGER_SECRET_RETIRES" },
  );
}
