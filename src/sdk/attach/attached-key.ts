import type { Secret } from "../../keys/secret.ts";
import { checkOptions, FUNCTION, type Rules } from "../verifier/check-options.ts";
import { type ChangingKey, type KeySource, openKeySource } from "./key-source.ts";
import { RetirementNotice } from "./retirement.ts";

export interface AttachKeyOptions {
  /**
   * Called when a service says that the secret it was called with has been rotated, with the instant from which it will
   * be refused; once for each secret. Default: `process.emitWarning`, code `CLAVIGER_SECRET_RETIRES`.
   */
  readonly onRetiring?: (instant: Date) => void;
}

const RULES: Rules<AttachKeyOptions> = { onRetiring: FUNCTION };

/** The key of a client. */
export class AttachedKey {
  readonly #key: ChangingKey;
  readonly #notice: RetirementNotice;

  /** @throws TypeError for what is no source, for a text that can be no secret, and for a wrong option */
  constructor(source: KeySource, options: AttachKeyOptions) {
    checkOptions("attachKey", options, RULES);
    this.#key = openKeySource(source);
    this.#notice = new RetirementNotice(options.onRetiring);
  }

  /**
   * The key for one call that can be repeated: its one message is known. Rejects if there is no secret.
   */
  async forRepeatable(): Promise<CallKey> {
    return new CallKey(await this.#key.current(), { notice: this.#notice, repeatWith: this.#key });
  }

  /**
   * The key for one call that cannot be repeated, since its messages are gone once sent. It looks at the source before
   * instead of after. Rejects if there is no secret.
   */
  async forUnrepeatable(): Promise<CallKey> {
    return new CallKey(await this.#key.reread(), { notice: this.#notice });
  }
}

/** The key of one call: the secret that it is sent with, and whether there is another one after a refusal. */
export class CallKey {
  readonly #notice: RetirementNotice;
  #repeatWith: ChangingKey | undefined;
  #secret: Secret;

  constructor(secret: Secret, by: { readonly notice: RetirementNotice; readonly repeatWith?: ChangingKey }) {
    this.#secret = secret;
    this.#notice = by.notice;
    this.#repeatWith = by.repeatWith;
  }

  /** The value of the header `authorization`. It is the secret: put it there and nowhere else. */
  get authorization(): string {
    return `Bearer ${this.#secret.reveal()}`;
  }

  /**
   * Looks for another secret after a refusal. Whether there is one, with which to repeat the call; at most once, and
   * never for a call that cannot be repeated. Does not reject.
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

  /** The call has begun to be answered: it is not repeated any more. */
  spend(): void {
    this.#repeatWith = undefined;
  }

  /**
   * Takes what an answer says about the secret's retirement: the value of `claviger-secret-retires`, if any. A refusal is
   * no answer: it says more by itself, and there may be another secret already.
   */
  answered(secretRetires: string | null | undefined): void {
    this.#notice.read(this.#secret, secretRetires);
  }
}
