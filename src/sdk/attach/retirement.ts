import type { Secret } from "../../keys/secret.ts";
import { createListener } from "../verifier/listener.ts";

/** The trailer, or header of an error, in which a service says when the secret that it was called with retires. */
export const SECRET_RETIRES = "claviger-secret-retires";

/** Tells once for each secret that it retires; a value that is no instant is ignored. */
export class RetirementNotice {
  readonly #onRetiring: (instant: Date) => void;
  #told: Secret | undefined;

  constructor(onRetiring: (instant: Date) => void = warn) {
    this.#onRetiring = createListener("onRetiring", onRetiring);
  }

  /**
   * @param value of `claviger-secret-retires` in the answer to a call with that secret: an RFC 3339 instant, if any. Of
   * several, as when header and trailer are joined with a comma, the first
   */
  read(secret: Secret, value: string | null | undefined): void {
    const [first] = value?.split(",") ?? [];
    const instant = first ? new Date(first) : undefined;
    if (instant === undefined || Number.isNaN(instant.getTime())) return;
    if (this.#told?.reveal() === secret.reveal()) return;
    this.#told = secret;
    this.#onRetiring(instant);
  }
}

function warn(instant: Date): void {
  process.emitWarning(
    `the secret that this process calls with retires at ${instant.toISOString()}: put the new secret of its key in its place`,
    { type: "ClavigerWarning", code: "CLAVIGER_SECRET_RETIRES" },
  );
}
