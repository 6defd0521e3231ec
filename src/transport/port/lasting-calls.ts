import { ErrorCode } from "../../http2/frames.ts";
import type { Http2Stream } from "../../http2/stream.ts";
import { FairShares } from "../../rpc/fair-shares.ts";

/** Where a call comes from. */
export interface CallSource {
  readonly address: string;
  readonly connection: object;
}

/**
 * The HTTP/2 calls that stay open. A call holds memory while it waits for its request, and a client without a
 * credential can open calls and send nothing more. Where there are too many, addresses have fair shares, and so have
 * the connections of one address. Calls that are answered before the next check of connections do not count.
 */
export class LastingCalls {
  readonly #most: number;
  readonly #byAddress = new FairShares<Http2Stream>();
  readonly #byConnection = new FairShares<Http2Stream>();
  readonly #names = new WeakMap<object, string>();
  #lastName = 0;

  constructor(most: number) {
    this.#most = most;
  }

  get isFull(): boolean {
    return this.#byAddress.size >= this.#most;
  }

  /** Notes a call that is open. If there are too many, ends it, or one that takes more than a fair share. */
  note(call: Http2Stream, { address, connection }: CallSource): void {
    if (this.#byAddress.has(call) || call.isClosed) return;
    const name = this.#nameOf(connection);
    this.#byAddress.add(address, call);
    this.#byConnection.add(name, call);
    if (this.#byAddress.size <= this.#most) return;
    const displaced = this.#byAddress.displacedFor(address) ?? this.#byConnection.displacedFor(name) ?? call;
    this.delete(displaced);
    // Nothing was made of a call without a receiver: its client may safely call again.
    displaced.reset(displaced.receiver === undefined ? ErrorCode.refusedStream : ErrorCode.cancel);
  }

  delete(call: Http2Stream): void {
    this.#byAddress.delete(call);
    this.#byConnection.delete(call);
  }

  #nameOf(connection: object): string {
    const known = this.#names.get(connection);
    if (known !== undefined) return known;
    this.#lastName += 1;
    const name = String(this.#lastName);
    this.#names.set(connection, name);
    return name;
  }
}
