import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "./free-port.ts";

// Bounded: a test that opens more has lost count of its connections.
const MAX_CONNECTIONS = 256;

export interface TcpProxyOptions {
  readonly host?: string;
  /** The port of the server behind the proxy. */
  readonly port: number;
}

export interface TcpProxy {
  /** The proxy's own port on 127.0.0.1; it stays the same through `refuse()` and `resume()`. */
  readonly port: number;
  /** From now on new connections lead to the server on that port. */
  lead(port: number): void;
  /** How many clients are connected now. */
  connectionCount(): number;
  /** Bytes are held in both directions, and new connections are taken but get no answer, until `resume()`. */
  hang(): void;
  /** Cuts every connection with RST. New ones pass. */
  reset(): void;
  /** Every byte arrives this many milliseconds later, in each direction, until `resume()`. */
  latency(ms: number): void;
  /** Whatever a server says is thrown away, while what clients say arrives, until `resume()`. */
  swallow(): void;
  /** Sends FIN to every client, as a server does that will say no more, and goes on reading from it. */
  halfClose(): void;
  /** New connections are refused until `resume()`; those that exist pass on. */
  refuse(): Promise<void>;
  /** Back to passing everything through; what was held by `hang()` is sent now. */
  resume(): Promise<void>;
  /** Cuts everything and frees the port. Twice is fine. */
  close(): Promise<void>;
}

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
}

/** A proxy in front of a TCP server whose faults a test can choose. Needs no rights on the machine. */
export async function createTcpProxy(target: TcpProxyOptions): Promise<TcpProxy> {
  const pairs = new Set<Pair>();
  const port = await freePort();
  let hanging = false;
  let swallowing = false;
  let delayMs = 0;
  let serverPort = target.port;

  const listener = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    const server = connect({ host: target.host ?? "127.0.0.1", port: serverPort, allowHalfOpen: true });
    const pair = { client, server };
    pairs.add(pair);
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      const later = inOrder(() => delayMs);
      from.on("data", (bytes) => later(() => (swallowing && from === server) || forward(bytes, { from, to })));
      from.on("end", () => later(() => to.writable && to.end()));
      from.on("drain", () => hanging || to.resume());
      from.on("error", () => to.resetAndDestroy());
      from.on("close", () => {
        pairs.delete(pair);
        later(() => to.destroySoon());
      });
    }
    if (hanging) server.pause();
    else client.resume();
  });
  listener.maxConnections = MAX_CONNECTIONS;

  async function listen(): Promise<void> {
    listener.listen(port, "127.0.0.1");
    await once(listener, "listening");
  }

  async function refuse(): Promise<void> {
    if (!listener.listening) return;
    // close() stops listening at once, but calls back only when the last connection has ended.
    listener.close();
  }

  const each = (act: (pair: Pair) => void) => [...pairs].forEach(act);
  await listen();
  return {
    port,
    lead: (to) => {
      serverPort = to;
    },
    connectionCount: () => pairs.size,
    hang: () => {
      hanging = true;
      each(({ client, server }) => void [client.pause(), server.pause()]);
    },
    reset: () => each(({ client, server }) => void [client.resetAndDestroy(), server.resetAndDestroy()]),
    latency: (ms) => {
      delayMs = ms;
    },
    swallow: () => {
      swallowing = true;
    },
    halfClose: () =>
      each(({ client, server }) => {
        server.removeAllListeners("data").resume();
        client.end();
      }),
    refuse,
    resume: async () => {
      hanging = false;
      swallowing = false;
      delayMs = 0;
      each(({ client, server }) => void [client.resume(), server.resume()]);
      if (!listener.listening) await listen();
    },
    close: async () => {
      each(({ client, server }) => void [client.destroy(), server.destroy()]);
      await refuse();
    },
  };
}

/** Runs what it is given after the delay of that moment, never before what it was given earlier. */
function inOrder(delayMs: () => number): (run: () => void) => void {
  let queue = Promise.resolve();
  return (run) => {
    const due = performance.now() + delayMs();
    queue = queue.then(async () => {
      const wait = due - performance.now();
      if (wait > 0) await sleep(wait, undefined, { ref: false });
      run();
    });
  };
}

function forward(bytes: Buffer | string, { from, to }: { from: Socket; to: Socket }): void {
  if (to.writable && !to.write(bytes)) from.pause();
}
