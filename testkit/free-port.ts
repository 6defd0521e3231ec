import { once } from "node:events";
import { createServer } from "node:net";

// Below every system's range of ephemeral ports, so that no outgoing connection takes the port while a server restarts.
const FIRST = 20_000;
const COUNT = 12_000;
const ATTEMPTS = 50;

/** A TCP port on 127.0.0.1 that was free a moment ago. Another process may still take it: try again on "in use". */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const port = FIRST + Math.floor(Math.random() * COUNT);
    if (await isFree(port)) return port;
  }
  throw new Error(`no free port found in ${ATTEMPTS} attempts; end some of the servers on this machine`);
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}
