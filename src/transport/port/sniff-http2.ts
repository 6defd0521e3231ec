import type { Socket } from "node:net";

const prefaceStart = Buffer.from("PRI ", "latin1");

/**
 * Reads just enough of a new connection to tell HTTP/2 by prior knowledge (RFC 9113, 3.4) from HTTP/1.1, and puts it
 * back, leaving the socket paused. No HTTP/1.1 method begins with `PRI `. Resolves to undefined when the socket closes first, or has not said
 * enough within `withinMs`; the socket is destroyed then.
 */
export function sniffHttp2(socket: Socket, withinMs: number): Promise<boolean | undefined> {
  return new Promise((resolve) => {
    let seen: Buffer = Buffer.alloc(0);
    const timer = setTimeout(() => socket.destroy(), withinMs);

    function settle(verdict: boolean | undefined): void {
      clearTimeout(timer);
      socket.off("data", onData).off("close", onGone).off("end", onGone);
      resolve(verdict);
    }
    function onData(chunk: Buffer): void {
      seen = Buffer.concat([seen, chunk]);
      const compared = Math.min(seen.length, prefaceStart.length);
      const matches = seen.subarray(0, compared).equals(prefaceStart.subarray(0, compared));
      if (matches && compared < prefaceStart.length) return;
      socket.pause();
      socket.unshift(seen);
      settle(matches);
    }
    function onGone(): void {
      socket.destroy();
      settle(undefined);
    }
    socket.on("data", onData).once("close", onGone).once("end", onGone);
  });
}
