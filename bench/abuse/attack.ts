import { connect, type Socket } from "node:net";
import type { Kind } from "./kinds.ts";

/** Between pieces: the abuser itself should not be what takes the CPU from others. */
const PACE_MS = 5;

export interface AttackOptions {
  readonly url: string;
  readonly kind: Kind;
  /** Milliseconds from being cut off to coming back. Default: it does not. */
  readonly comesBackAfterMs?: number;
}

/** The damage so far. */
export interface Damage {
  frames: number;
  /** Connections that the server closed. */
  cutOff: number;
  /** Connections open. */
  open: number;
  /** Bytes that the server sent. */
  received: number;
}

/** Abuses the server at `url` until `stop`. */
export class Attack {
  readonly damage: Damage = { frames: 0, cutOff: 0, open: 0, received: 0 };
  readonly #options: AttackOptions;
  readonly #sockets = new Set<Socket>();
  #isStopped = false;

  constructor(options: AttackOptions) {
    this.#options = options;
    const { connections = 1 } = options.kind;
    for (let count = 0; count < connections; count++) this.#open();
  }

  stop(): void {
    this.#isStopped = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  #open(): void {
    if (this.#isStopped) return;
    const { kind, url } = this.#options;
    const { hostname: host, port } = new URL(url);
    const socket = connect({ host, port: Number(port), noDelay: true });
    this.#sockets.add(socket);
    socket.once("connect", () => {
      this.damage.open += 1;
      socket.once("close", () => this.#onCutOff());
      socket.write(kind.begin());
      if (kind.more !== undefined) this.#flood(socket, kind);
    });
    if (!kind.isDeaf) {
      socket.on("data", ({ length }) => {
        this.damage.received += length;
      });
    }
    socket.on("error", () => undefined);
    socket.once("close", () => this.#sockets.delete(socket));
  }

  #flood(socket: Socket, { more, isPatient }: Kind): void {
    const repeated = more?.();
    if (repeated === undefined) return;
    const send = () => {
      if (socket.destroyed) return;
      this.damage.frames += repeated.frames;
      if (isPatient) {
        socket.write(repeated.next());
        socket.once("data", () => setTimeout(send, PACE_MS));
      } else {
        socket.write(repeated.next(), () => setTimeout(send, PACE_MS));
      }
    };
    send();
  }

  #onCutOff(): void {
    this.damage.open -= 1;
    if (this.#isStopped) return;
    this.damage.cutOff += 1;
    const { comesBackAfterMs } = this.#options;
    if (comesBackAfterMs !== undefined) setTimeout(() => this.#open(), comesBackAfterMs);
  }
}
