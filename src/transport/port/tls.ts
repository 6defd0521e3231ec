import type { Socket } from "node:net";
import { createSecureContext, type SecureContext, TLSSocket } from "node:tls";

/** A certificate with its chain, and its private key, in PEM. */
export interface PortTls {
  readonly cert: string;
  readonly key: string;
}

const PROTOCOLS = ["h2", "http/1.1"];

/** Makes connections secure. */
export class TlsDoor {
  #context: SecureContext;

  /** Throws if certificate and key do not belong together. */
  constructor(pair: PortTls) {
    this.#context = contextOf(pair);
  }

  /** For new connections; those that are open keep theirs. Throws as the constructor does, and changes nothing then. */
  replace(pair: PortTls): void {
    this.#context = contextOf(pair);
  }

  /** Resolves to undefined if the client's handshake fails, or takes longer; the socket is destroyed then. */
  enter(socket: Socket, withinMs: number): Promise<TLSSocket | undefined> {
    return new Promise((resolve) => {
      const secured = new TLSSocket(socket, {
        isServer: true,
        secureContext: this.#context,
        ALPNProtocols: PROTOCOLS,
      });
      const timer = setTimeout(() => secured.destroy(), withinMs);
      // May come more than once: after a failure, and from the client's alert.
      secured.on("error", () => {});
      secured.once("secure", () => settle(secured));
      secured.once("close", () => {
        socket.destroy();
        settle(undefined);
      });
      function settle(outcome: TLSSocket | undefined): void {
        clearTimeout(timer);
        resolve(outcome);
      }
    });
  }
}

function contextOf({ cert, key }: PortTls): SecureContext {
  // HTTP/2 asks for at least 1.2 (RFC 9113, section 9.2).
  return createSecureContext({ cert, key, minVersion: "TLSv1.2" });
}
