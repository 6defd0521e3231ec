import { once } from "node:events";
import { chmod, rm } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Logger } from "pino";
import { messageOf } from "../../keys/errors.ts";

/** A client that reads nothing for this long is cut off: the copy waits for it in memory. Milliseconds. */
const STALLED_MS = 60_000;

export interface BackupsOptions {
  /** The path of a Unix socket, in a folder that only its owner can enter. */
  readonly path: string;
  /** Copies the database as it is at one moment. */
  readonly dump: () => Promise<Blob>;
  readonly log: Logger;
}

/**
 * Answers each connection to the socket with a line of the size in bytes, and then a tar archive of the database. One
 * connection at a time. Only the user of the data folder can connect, so that no credential is asked for.
 */
export async function serveBackups({ path, dump, log }: BackupsOptions): Promise<{ close(): void }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    // A client that left early; the client says so itself.
    socket.on("error", () => undefined);
    socket.setTimeout(STALLED_MS, () => socket.destroy());
    void send(socket).catch((error: unknown) => {
      log.warn({ event: "backup", reason: messageOf(error) }, "a backup was not finished");
      socket.destroy();
    });
  });
  server.maxConnections = 1;

  async function send(socket: Socket): Promise<void> {
    const copy = await dump();
    socket.write(`${copy.size}\n`);
    await pipeline(Readable.fromWeb(copy.stream()), socket);
    log.info({ event: "backup", bytes: copy.size }, "a backup was made");
  }

  const close = () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  try {
    // The socket of a killed process: the caller holds the lock of the folder.
    await rm(path, { force: true });
    await once(server.listen(path), "listening");
    await chmod(path, 0o600);
  } catch (error) {
    // Keys are served all the same.
    log.warn({ event: "backup", reason: messageOf(error) }, `no backup can be made, since ${path} cannot be used`);
    close();
  }
  server.on("error", (error) =>
    log.warn({ event: "backup", reason: messageOf(error) }, "the socket for backups failed"),
  );
  return { close };
}
