import { X509Certificate } from "node:crypto";
import type { Logger } from "pino";
import { pause } from "../../system/node.ts";
import { type PortTls, TlsDoor } from "../../transport/port/tls.ts";
import type { CertificateFiles } from "../config/read-pem.ts";
import { Outage } from "../observe/outage.ts";

/** Milliseconds between two reads that must agree: longer than a writer needs from truncating a file to filling it. */
const SETTLE_MS = 10;

/**
 * The certificate of the port, whose files may be replaced at any time. Certificate and key change together, and only to a
 * pair that fits; until then the last one stays in use.
 */
export class Certificate {
  readonly door: TlsDoor;
  readonly #reread: () => Promise<PortTls>;
  readonly #log: Logger;
  readonly #outage: Outage;
  #pair: PortTls;
  #failures = 0;

  constructor({ pair, reread }: CertificateFiles, log: Logger) {
    this.door = new TlsDoor(pair);
    this.#pair = pair;
    this.#reread = reread;
    this.#log = log;
    const lines = {
      failing: "the files of the certificate are not used; the last good pair stays",
      well: "the files of the certificate are good again",
    };
    this.#outage = new Outage({ log, event: "tls", ...lines });
  }

  /** Reads that found no pair that can be used. */
  get failures(): number {
    return this.#failures;
  }

  /** Unix time in seconds. */
  get expirySeconds(): number {
    return new X509Certificate(this.#pair.cert).validToDate.getTime() / 1000;
  }

  /** Reads the files now. Never rejects. */
  async look(): Promise<void> {
    try {
      const pair = await this.#reread();
      if (!isSame(pair, this.#pair) && (await this.#isSettled(pair))) this.#replace(pair);
      this.#outage.succeeded();
    } catch (error) {
      this.#failures += 1;
      this.#outage.failed(error);
    }
  }

  /** A chain that is half written may be a chain too. */
  async #isSettled(pair: PortTls): Promise<boolean> {
    await pause(SETTLE_MS);
    return isSame(pair, await this.#reread());
  }

  #replace(pair: PortTls): void {
    this.door.replace(pair);
    this.#pair = pair;
    const expires = new Date(this.expirySeconds * 1000).toISOString();
    this.#log.info({ event: "tls", expires }, "the certificate was replaced");
  }
}

function isSame(a: PortTls, b: PortTls): boolean {
  return a.cert === b.cert && a.key === b.key;
}
