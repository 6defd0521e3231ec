/** Who may come in to a server of a test, and who came. */
export class Doorkeeper {
  /** Secrets that are let in. */
  accepted: readonly string[] = [];
  /** When which secret retires, as in `claviger-secret-retires`. */
  retires: Readonly<Record<string, string>> = {};
  /** The headers `authorization` of all calls, in order. */
  readonly seen: string[] = [];

  /** Whether the call is let in, and what is said about the retirement of its secret. */
  decide(authorization: string): { readonly isAccepted: boolean; readonly retires: string | undefined } {
    this.seen.push(authorization);
    const secret = authorization.replace("Bearer ", "");
    return { isAccepted: this.accepted.includes(secret), retires: this.retires[secret] };
  }
}

/** A server of `Echo` behind a doorkeeper. */
export interface EchoServer {
  /** `127.0.0.1:port` */
  readonly address: string;
  readonly door: Doorkeeper;
  close(): Promise<void>;
}

/** What makes an echo end with `ABORTED`, although it was let in. */
export const ABORT = "abort";

/** What makes an echo end with `UNAUTHENTICATED` after its first message, although it was let in. */
export const REFUSE_LATE = "refuse late";
