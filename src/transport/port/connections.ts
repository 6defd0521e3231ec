import type { Socket } from "node:net";
import { FairShares } from "../../rpc/fair-shares.ts";
import { networkOf } from "../../verify/network-of.ts";

/** The state of a connection. */
export interface Activity {
  /** Whether a call is open. */
  readonly isBusy: boolean;
  /** Calls that came so far. */
  readonly calls: number;
}

/** One open connection. */
export interface Connection {
  readonly socket: Socket;
  /** The network that it comes from, as `networkOf` has it. */
  readonly address: string;
  /** Replaced once it is known which HTTP version is spoken. */
  activity: Activity;
  /** Ends the connection in favour of another one. */
  displace: () => void;
}

interface Tracked extends Connection {
  seenCalls: number;
}

const NO_CALLS: Activity = { isBusy: false, calls: 0 };

/**
 * The open connections. When they are as many as may be, the one that has been idle for longest is closed for a new one,
 * at the address with the most idle ones; if all are busy, one of the address with the most, if that has more than its
 * fair share. So idle connections keep out no caller, and one address keeps out no other.
 */
export class Connections {
  readonly #most: number;
  readonly #all = new FairShares<Tracked>();
  /** Those that were idle at the last look, or are new; longest first. */
  readonly #idle = new FairShares<Tracked>();

  constructor(most: number) {
    this.#most = most;
  }

  /** Takes in a new connection; undefined if there is no room for it. */
  add(socket: Socket): Connection | undefined {
    const address = networkOf(socket.remoteAddress ?? "");
    if (this.#all.size >= this.#most) {
      const displaced = this.#victimFor(address);
      if (displaced === undefined) return undefined;
      this.delete(displaced);
      displaced.displace();
    }
    const connection: Tracked = {
      ...{ socket, address, activity: NO_CALLS, displace: () => socket.destroy() },
      seenCalls: 0,
    };
    this.#all.add(address, connection);
    this.#idle.add(address, connection);
    return connection;
  }

  delete(connection: Connection): void {
    const tracked = connection as Tracked;
    if (!this.#all.has(tracked)) return;
    this.#all.delete(tracked);
    this.#idle.delete(tracked);
  }

  /** Notes what each connection does: to be called ten times a second, so that calls need not note it themselves. */
  look(): void {
    for (const connection of this.#all.members()) {
      const { isBusy, calls } = connection.activity;
      if (isBusy || calls !== connection.seenCalls) this.#idle.delete(connection);
      if (!isBusy) this.#idle.add(connection.address, connection);
      connection.seenCalls = calls;
    }
  }

  #victimFor(address: string): Tracked | undefined {
    for (let idle = this.#idle.oldestOfLargest(); idle !== undefined; idle = this.#idle.oldestOfLargest()) {
      const { isBusy, calls } = idle.activity;
      if (!isBusy && calls === idle.seenCalls) return idle;
      // Called on since the last look; the next one puts it back.
      this.#idle.delete(idle);
    }
    return this.#all.displacedFor(address);
  }
}
