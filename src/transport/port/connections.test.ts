import type { Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { type Connection, Connections } from "./connections.ts";

/** A socket from there, which notes that it was closed. */
function socketFrom(remoteAddress: string) {
  const socket = { remoteAddress, isClosed: false, destroy: () => void Object.assign(socket, { isClosed: true }) };
  return socket;
}

function open(connections: Connections, address: string) {
  const socket = socketFrom(address);
  const connection = connections.add(socket as unknown as Socket);
  const activity = { isBusy: false, calls: 0 };
  if (connection !== undefined) connection.activity = activity;
  return { socket, connection: connection as Connection, activity };
}

describe("a full server", () => {
  it("closes what has been idle for longest, at the address with the most idle connections", () => {
    const connections = new Connections(4);
    const [busy, first, second] = [open(connections, "a"), open(connections, "a"), open(connections, "a")];
    const other = open(connections, "b");
    Object.assign(busy.activity, { isBusy: true, calls: 1 });
    connections.look();
    Object.assign(first.activity, { calls: 1 });
    connections.look();
    expect(open(connections, "c").connection).toBeDefined();
    expect([busy, first, second, other].map(({ socket }) => socket.isClosed)).toEqual([false, false, true, false]);
  });

  it("closes none that was called on since the last look", () => {
    const connections = new Connections(2);
    const [first, second] = [open(connections, "a"), open(connections, "a")];
    connections.look();
    Object.assign(first.activity, { calls: 1 });
    open(connections, "a");
    expect([first, second].map(({ socket }) => socket.isClosed)).toEqual([false, true]);
  });

  it("takes no new connection of an address whose connections are all busy, and have their share", () => {
    const connections = new Connections(2);
    for (const { activity } of [open(connections, "a"), open(connections, "a")]) activity.isBusy = true;
    connections.look();
    expect(open(connections, "a").connection).toBeUndefined();
    expect(open(connections, "b").connection).toBeDefined();
  });
});
