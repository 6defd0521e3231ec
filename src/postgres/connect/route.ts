import type pg from "pg";
import { describeAddress, type PostgresAddress, parseAddress } from "./address.ts";
import { parseTls, type Tls } from "./tls.ts";

/** One way to reach the database: a host, and how the connection is secured. */
export interface Way {
  /** For people: host and port. */
  readonly name: string;
  /**
   * The options for a client of node-postgres; reads the files of certificates.
   *
   * @throws Error of the file system
   */
  config(): pg.ClientConfig;
}

/** The ways to reach the primary, in the order of the URL. Remembers the one that did not fail last. */
export class Route {
  readonly address: PostgresAddress;
  readonly ways: readonly Way[];
  #at = 0;

  /** @throws Error whose message continues "DATABASE_URL …" and holds nothing of the URL. */
  constructor(url: string) {
    this.address = parseAddress(url);
    this.ways = waysOf(this.address);
  }

  get current(): Way {
    const way = this.ways[this.#at];
    if (way === undefined) throw new Error("an address has at least one host");
    return way;
  }

  /** Moves on to the next way, unless that has happened already. */
  failed(way: Way): void {
    if (way === this.current) this.#at = (this.#at + 1) % this.ways.length;
  }
}

function waysOf(address: PostgresAddress): Way[] {
  const { parameters, user, password, database } = address;
  const modes = parseTls(parameters);
  const common = {
    ...{ user, password, database, options: parameters.get("options") },
    application_name: parameters.get("application_name") ?? "claviger",
  };
  return address.hosts.flatMap(({ host, port }) => {
    // TLS is not spoken on Unix sockets, whatever the mode.
    const able: readonly Tls[] = host.startsWith("/") ? [() => false] : modes;
    return able.map((tls) => ({
      name: describeAddress({ ...address, hosts: [{ host, port }], database: undefined }),
      config: (): pg.ClientConfig => {
        const ssl = tls();
        const isDirect = ssl !== false && parameters.get("sslnegotiation") === "direct";
        return { ...common, host, port, ssl, ...(isDirect ? { sslnegotiation: "direct" } : {}) };
      },
    }));
  });
}
