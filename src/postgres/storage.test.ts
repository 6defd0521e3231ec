import { expect, it } from "vitest";
import { type Connection, Storage } from "./storage.ts";

const never = new Promise<never>(() => undefined);

it("ends what waits on a connection that is given up, at once, and serves on another", async () => {
  const opened: string[] = [];
  const connect = () => {
    opened.push("connection");
    return {
      abandon: () => opened.push("abandoned"),
      read: (work: () => unknown) => work(),
      transaction: () => never,
    } as unknown as Connection;
  };
  const storage = new Storage({ connect, timeoutMs: 1_000_000 });
  const waiting = [storage.read(() => never), storage.transaction(() => never)];
  storage.reconnect();
  for (const each of waiting) await expect(each).rejects.toMatchObject({ reason: "STORAGE_UNAVAILABLE" });
  expect(opened).toEqual(["connection", "connection", "abandoned"]);
  expect(await storage.read(async () => "served")).toBe("served");
});
