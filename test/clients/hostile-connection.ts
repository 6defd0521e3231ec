import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { cpuSeconds } from "../../bench/harness/processes.ts";

export interface Target {
  readonly port: number;
  readonly pid: number;
}

/** What one kind of client sends, on one connection. */
export interface Script {
  /** Written one after the other; the next one once the system has taken the one before. */
  readonly pieces: readonly Buffer[];
  /** Sent last: makes the server say `answer`, or hang up, once it has taken in everything before. */
  readonly last: { readonly bytes: Buffer; readonly answer?: string };
  /** Milliseconds between pieces, so that a connection that the server ends has sent no more than it has read. */
  readonly paceMs: number;
  /** Connections that do it at once. Default 1. */
  readonly connections?: number;
}

/** Bytes that were sent, what they cost, and how many connections the server has ended. */
export interface Cost {
  readonly bytes: number;
  readonly cpuSeconds: number;
  readonly ended: number;
}

/** Plays the script, and waits until the server has taken all of it in. */
export async function play({ port, pid }: Target, script: Script): Promise<Cost> {
  const { connections = 1 } = script;
  const sockets = Array.from({ length: connections }, () => connect({ host: "127.0.0.1", port, noDelay: true }));
  await Promise.all(
    sockets.map((socket) =>
      once(
        socket.on("error", () => undefined),
        "connect",
      ),
    ),
  );
  const before = cpuSeconds(pid);
  const played = await Promise.all(sockets.map((socket) => playOn(socket, script)));
  const used = cpuSeconds(pid) - before;
  for (const socket of sockets) socket.destroy();
  const bytes = played.reduce((sum, each) => sum + each.bytes, 0);
  return { bytes, cpuSeconds: used, ended: played.filter(({ isEnded }) => isEnded).length };
}

async function playOn(socket: Socket, { pieces, last, paceMs }: Script) {
  let received = "";
  let wake: (done: undefined) => void = () => undefined;
  const { answer = "\0".repeat(1000) } = last;
  const done = new Promise<void>((resolve) => {
    socket.on("data", (chunk: Buffer) => {
      received = received.slice(-answer.length) + chunk.toString("latin1");
      if (received.includes(answer)) resolve();
    });
    socket.once("close", resolve).once("close", () => wake(undefined));
  });
  let bytes = 0;
  for (const piece of [...pieces, last.bytes]) {
    if (socket.destroyed) break;
    bytes += piece.length;
    await new Promise<undefined>((resolve) => {
      wake = resolve;
      socket.write(piece, () => resolve(undefined));
    });
    await sleep(paceMs);
  }
  await done;
  return { bytes, isEnded: socket.destroyed };
}
