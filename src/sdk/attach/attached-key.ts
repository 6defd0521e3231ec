import type { Secret } from "../../keys/secret.ts";
import { checkOptions, FUNCTION, type Rules } from "../verifier/check-options.ts";
import { type ChangingKey, type KeySource, openKeySource } from "./key-source.ts";
import { RetirementNotice } from "./retirement.ts";

export interface AttachKeyOptions {
  /**
   * Called once for each secret that a service reports as rotated, with the instant from which services refuse it.
   * Default: `process.emitWarning`, code `CLAVIGER_SECRET_RETIRES`.
   */
  readonly onRetiring?: (instant: Date) => void;
}

const RULES: Rules<AttachKeyOptions> = { onRetiring: FUNCTION };

/** The key that a client sends. */
export class AttachedKey {
  readonly #key: ChangingKey;
  readonly #notice: RetirementNotice;

  /** @throws TypeError for a wrong source, a text that cannot be a secret, or a wrong option */
  constructor(source: KeySource, options: AttachKeyOptions) {
    checkOptions("attachKey", options, RULES);
    this.#key = openKeySource(source);
    this.#notice = new RetirementNotice(options.onRetiring);
  }

  /** The key for one call that can be repeated, because its one message is known. Rejects if there is no secret. */
  async forRepeatable(): Promise<CallKey> {
    return new CallKey(await this.#key.current(), { notice: this.#notice, repeatWith: this.#key });
  }

  /**
   * The key for one call that cannot be repeated, because its messages are gone once they are sent. The source is read
   * before the call instead of after a refusal. Rejects if there is no secret.
   */
  async forUnrepeatable(): Promise<CallKey> {
    return new CallKey(await this.#key.reread(), { notice: this.#notice });
  }
}

/** The key of one call: the secret that the call carries, and the source of another secret after a refusal. */
export class CallKey {
  readonly #notice: RetirementNotice;
  #repeatWith: ChangingKey | undefined;
  #secret: Secret;

  constructor(secret: Secret, by: { readonly notice: RetirementNotice; readonly repeatWith?: ChangingKey }) {
    this.#secret = secret;
    this.#notice = by.notice;
    this.#repeatWith = by.repeatWith;
  }

  /** The value of the header `authorization`. It contains the secret: put it there and nowhere else. */
  get authorization(): string {
    return `Bearer ${this.#secret.reveal()}`;
  }

  /**
   * Reads the source again after a refusal. Returns whether it has another secret, with which to repeat the call: at most
   * once, and never for a call that cannot be repeated. Does not reject.
   */
  async renew(): Promise<boolean> {
    const refused = this.#secret.reveal();
    const key = this.#repeatWith;
    this.#repeatWith = undefined;
    const secret = await key?.reread().catch(() => undefined);
    if (secret === undefined || secret.reveal() === refused) return false;
    this.#secret = secret;
    return true;
  }

  /** Marks the call as answered in part, so that it is not repeated. */
  spend(): void {
    this.#repeatWith = undefined;
  }

  /**
   * Reads the secret's retirement from an answer: the value of `claviger-secret-retires`, if any. Refusals do not count:
   * a refusal says more by itself, and the source may have another secret already.
   */
  answered(secretRetires: string | null | undefined): void {
    this.#notice.read(this.#secret, secretRetires);
  }
}
