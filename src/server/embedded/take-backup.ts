import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { rename, rm, stat } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { messageOf } from "../../keys/errors.ts";
import type { ServerConfig } from "../config/config.ts";
import { openStorage } from "../open/open-storage.ts";
import { StartupError } from "../startup-error.ts";
import { backupSocket, hasDatabase } from "./data-folder.ts";

/**
 * Copies the embedded database into `file`, a tar archive with gzip that only its owner can read; returns its size in
 * bytes. Asks the server that holds the data folder, or opens the database where none does. The file appears under its
 * name when it is whole.
 *
 * @throws StartupError that says what to do
 */
export async function takeBackup(config: ServerConfig, file: string): Promise<number> {
  if (config.storage.kind !== "embedded") {
    throw new StartupError(
      "DATABASE_URL is set, and a database of Postgres is backed up with pg_dump or pg_basebackup",
    );
  }
  const { folder } = config.storage;
  const path = backupSocket(folder);
  const socket = await reach(path).catch(() => undefined);
  if (socket !== undefined) return await receive(socket, file);
  // Opening would make an empty database, and its copy would pass for a backup.
  if (!hasDatabase(folder)) {
    throw new StartupError(`there is no database in ${folder}. Give the server's data folder by CLAVIGER_DATA_DIR`);
  }
  const opened = await openStorage(config);
  try {
    const own = await reach(path).catch((cause: unknown) => {
      const advice = "give the data folder by a path of less than 100 characters";
      throw new StartupError(`the socket ${path} cannot be used (${messageOf(cause)}): ${advice}`, { cause });
    });
    return await receive(own, file);
  } finally {
    await opened.close();
  }
}

async function reach(path: string): Promise<Socket> {
  const socket = connect(path);
  await once(socket, "connect");
  return socket;
}

async function receive(socket: Socket, file: string): Promise<number> {
  const unfinished = `${file}.part`;
  try {
    // With "wx", so that the mode is not that of an older file.
    await rm(unfinished, { force: true });
    const target = createWriteStream(unfinished, { flags: "wx", mode: 0o600, flush: true });
    await pipeline(whole(socket), createGzip(), target);
    const { size } = await stat(unfinished);
    await rename(unfinished, file);
    return size;
  } catch (cause) {
    await rm(unfinished, { force: true }).catch(() => undefined);
    if (cause instanceof StartupError) throw cause;
    throw new StartupError(`cannot write the backup ${file}: ${messageOf(cause)}. Give another file`, { cause });
  } finally {
    socket.destroy();
  }
}

/** The bytes after the line with their number, if all of them come. */
async function* whole(socket: Socket): AsyncGenerator<Buffer> {
  let head = Buffer.alloc(0);
  let left: number | undefined;
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    let bytes = chunk;
    if (left === undefined) {
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf("\n");
      if (end === -1) continue;
      left = Number(head.subarray(0, end));
      bytes = head.subarray(end + 1);
    }
    left -= bytes.length;
    yield bytes;
  }
  if (left !== 0) {
    throw new StartupError(
      "the server made no whole backup: it ended, or makes another one just now. Read its log, and try again",
    );
  }
}
