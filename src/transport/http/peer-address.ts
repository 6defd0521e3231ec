import { withoutIpv4Prefix } from "../../system/addresses.ts";
import { networkOf } from "../../verify/network-of.ts";

/** Where a connection comes from. */
export interface Peer {
  /** As text, IPv4 also when the socket is a dual-stack one; empty if the connection is gone. */
  readonly address: string;
  /** As `networkOf` has it. */
  readonly network: string;
}

interface AddressedSocket {
  readonly remoteAddress?: string | undefined;
}

/** The peers of HTTP/2 connections and HTTP/1.1 sockets. Each address is read once. */
export class Peers {
  readonly #known = new WeakMap<object, Peer>();

  of(connection: AddressedSocket | { readonly socket: AddressedSocket }): Peer {
    const known = this.#known.get(connection);
    if (known !== undefined) return known;
    const address = addressOf("socket" in connection ? connection.socket : connection);
    const peer = { address, network: networkOf(address) };
    this.#known.set(connection, peer);
    return peer;
  }
}

export function addressOf({ remoteAddress = "" }: AddressedSocket): string {
  return withoutIpv4Prefix(remoteAddress);
}
