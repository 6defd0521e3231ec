import { Socket } from "node:net";
import pg from "pg";
import { BackOff } from "./back-off.ts";
import type { Route, Way } from "./route.ts";

/** Longest wait for a connection where there are other ways, in milliseconds. */
const OTHERS_WAIT_MS = 3000;

export interface PrimaryPoolOptions extends pg.PoolConfig {
  readonly route: Route;
  /** Longest wait for a connection, new or from the pool, in milliseconds. The ways of the route share it. */
  readonly connectionTimeoutMillis: number;
  /** Rejects where a new connection does not lead to the primary that is meant. */
  readonly check: (client: pg.ClientBase) => Promise<void>;
  /** Holds the socket of every connection, those that are being made too. */
  readonly sockets: Set<Socket>;
  /** 0 to 1, evenly: spreads the attempts of many nodes. */
  readonly jitter: () => number;
}

/** A pool of connections to the primary among several hosts. While all refuse, attempts to connect are few. */
export class PrimaryPool extends pg.Pool {
  readonly #route: Route;

  constructor(options: PrimaryPoolOptions) {
    const { route, check, sockets, jitter, ...config } = options;
    super({ ...config, Client: createClient(options) });
    this.#route = route;
    this.on("error", () => undefined);
  }

  override connect(): Promise<pg.PoolClient>;
  override connect(
    callback: (error: Error | undefined, client: pg.PoolClient | undefined, done: (release?: boolean) => void) => void,
  ): void;
  override connect(
    callback?: (error: Error | undefined, client: pg.PoolClient | undefined, done: (release?: boolean) => void) => void,
  ): Promise<pg.PoolClient> | undefined {
    const connected = this.#connect();
    if (callback === undefined) return connected;
    connected.then(
      (client) => callback(undefined, client, (release) => client.release(release)),
      (error) => callback(error, undefined, () => undefined),
    );
    return undefined;
  }

  /** Tries the other ways too before it fails. */
  async #connect(): Promise<pg.PoolClient> {
    for (let left = this.#route.ways.length; ; left--) {
      const tried = this.#route.current;
      try {
        return await super.connect();
      } catch (error) {
        if (left === 1 || this.#route.current === tried) throw error;
      }
    }
  }
}

/** The class of clients that take the current way of a route. */
function createClient({ route, check, sockets, jitter, connectionTimeoutMillis }: PrimaryPoolOptions) {
  const ways = route.ways.length;
  const connectMs = ways === 1 ? connectionTimeoutMillis : Math.min(connectionTimeoutMillis / ways, OTHERS_WAIT_MS);
  const backOff = new BackOff<Way>({ ways, jitter });
  return class PrimaryClient extends pg.Client {
    readonly #way: Way;
    readonly #socket: Socket;
    /** Why this way could not even be configured. */
    readonly #failure: unknown;

    constructor(config?: pg.ClientConfig) {
      const way = route.current;
      const socket = new Socket();
      const [found, failure] = configOf(way);
      super({
        ...config,
        ...found,
        options: config?.options ?? found.options,
        connectionTimeoutMillis: Math.ceil(connectMs),
        stream: () => socket,
      });
      this.#way = way;
      this.#socket = socket;
      this.#failure = failure;
      // A lost connection emits an error here too, beside failing its query; without a listener the process would end.
      this.on("error", () => undefined);
    }

    override connect(): Promise<pg.Client>;
    override connect(callback: (error: Error | null) => void): void;
    override connect(callback?: (error: Error | null) => void): Promise<pg.Client> | undefined {
      const connected = this.#open();
      if (callback === undefined) return connected.then(() => this);
      connected.then(() => callback(null), callback);
      return undefined;
    }

    async #open(): Promise<void> {
      backOff.begin();
      sockets.add(this.#socket.once("close", () => sockets.delete(this.#socket)));
      try {
        if (this.#failure !== undefined) throw this.#failure;
        await super.connect();
        await check(this);
        backOff.succeeded();
      } catch (error) {
        route.failed(this.#way);
        backOff.failed(this.#way, error);
        this.#socket.destroy();
        throw error;
      }
    }
  };
}

function configOf(way: Way): readonly [pg.ClientConfig, unknown?] {
  try {
    return [way.config()];
  } catch (error) {
    return [{}, error];
  }
}
