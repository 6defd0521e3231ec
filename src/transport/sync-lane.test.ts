import { once } from "node:events";
import { createServer, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { SyncResponseSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { endOf, LEASE, openRaw } from "../../test/support/raw-sync.ts";
import type { SyncPeer } from "../rpc/sync.ts";
import { tooManyAtOnce } from "./router-errors.ts";
import { createSyncLane } from "./sync-lane.ts";

/** More than may wait before nothing is read any more. */
const MUCH = create(SyncResponseSchema, { message: { case: "change", value: { keyIds: ["x".repeat(100_000)] } } });

it("a stream that is ended while nothing is read from it is gone once its client has read why", async () => {
  const opened = Promise.withResolvers<{ readonly stream: ServerHttp2Stream; readonly peer: SyncPeer }>();
  const server = createServer();
  server.on("stream", (stream: ServerHttp2Stream, headers) => {
    const serve = createSyncLane({
      ...{ maxMessageBytes: 1000, mostWaitingBytes: 128 * 1024, credit: () => undefined, route: () => undefined },
      method: {
        ...{ path: "/claviger.v1.KeyVerifier/Sync", enter: () => "id", admit: () => undefined },
        ...{ unread: tooManyAtOnce, ended: () => undefined },
        open: (_call, _authorization, peer) => {
          opened.resolve({ stream, peer });
          return { handle: () => peer.send(MUCH), finish: () => peer.end(), close: () => undefined };
        },
      },
    });
    serve(stream, headers);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const raw = openRaw({ url, adminToken: "a" }, {}, { initialWindowSize: 1000 });
  raw.stream.write(LEASE);
  const { stream, peer } = await opened.promise;
  await expect.poll(() => stream.isPaused()).toBe(true);
  raw.stream.end(LEASE);
  await expect.poll(() => stream.readableLength).toBe(LEASE.length);
  const gone = once(stream, "close");
  peer.end(tooManyAtOnce());
  expect(await endOf(raw)).toMatchObject({ code: "UNAVAILABLE", messages: 1 });
  await gone;
  server.close();
});
