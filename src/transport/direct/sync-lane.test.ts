import { once } from "node:events";
import { createServer, type ServerHttp2Stream, type Settings } from "node:http2";
import type { AddressInfo } from "node:net";
import { create } from "@bufbuild/protobuf";
import { expect, it, onTestFinished } from "vitest";
import { SyncResponseSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { endOf, LEASE, openRaw, said } from "../../../testkit/raw-sync.ts";
import type { OpenSync, SyncPeer } from "../../rpc/sync/sync.ts";
import { tooManyAtOnce } from "../router/router-errors.ts";
import { createSyncLane } from "./sync-lane.ts";

/** More than may wait before nothing is read any more. */
const MUCH = create(SyncResponseSchema, { message: { case: "change", value: { keyIds: ["x".repeat(100_000)] } } });

const answerMuch = (peer: SyncPeer): OpenSync => ({
  ...{ turn: () => true, handle: () => peer.send(MUCH), finish: () => peer.end(), close: () => undefined },
});

/** A client's stream, the server's end of it once it is open, and the bytes that were allowed to its connection. */
async function openOne(settings: Settings = {}, open: (peer: SyncPeer) => OpenSync = answerMuch) {
  const opened = Promise.withResolvers<{ readonly stream: ServerHttp2Stream; readonly peer: SyncPeer }>();
  const credits: number[] = [];
  const server = createServer();
  server.on("stream", (stream: ServerHttp2Stream, headers) => {
    const serve = createSyncLane({
      ...{ maxMessageBytes: 1000, mostWaitingBytes: 128 * 1024, route: () => undefined },
      budget: { credit: (_, bytes) => void credits.push(bytes), piece: () => undefined },
      onDefect: () => undefined,
      method: {
        ...{ path: "/claviger.v1.KeyVerifier/Sync", enter: () => "id", admit: () => undefined },
        ...{ unread: tooManyAtOnce, ended: () => undefined },
        open: (_call, _authorization, peer) => {
          opened.resolve({ stream, peer });
          return open(peer);
        },
      },
    });
    serve(stream, headers);
  });
  onTestFinished(() => void server.close());
  await once(server.listen(0, "127.0.0.1"), "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const raw = openRaw({ url, adminToken: "a" }, {}, settings);
  raw.stream.write(LEASE);
  return { raw, credits, ...(await opened.promise) };
}

it("a stream that is ended while nothing is read from it is gone once its client has read why", async () => {
  const { raw, stream, peer } = await openOne({ initialWindowSize: 1000 });
  await expect.poll(() => stream.isPaused()).toBe(true);
  raw.stream.end(LEASE);
  await expect.poll(() => stream.readableLength).toBe(LEASE.length);
  const gone = once(stream, "close");
  peer.end(tooManyAtOnce());
  expect(await endOf(raw)).toMatchObject({ code: "UNAVAILABLE", messages: 1 });
  await gone;
});

it("what comes after the end is not allowed as a stream's own is: it would be a flood without a bound", async () => {
  const { raw, credits, stream, peer } = await openOne();
  await expect.poll(() => credits).toEqual([LEASE.length]);
  peer.end(tooManyAtOnce());
  raw.stream.end(Buffer.alloc(20_000));
  await expect.poll(() => stream.readableEnded).toBe(true);
  expect(credits).toEqual([LEASE.length]);
});

it("what comes beyond a turn waits for the next: in order, once, and before the end that came with it", async () => {
  const nonces: bigint[] = [];
  let asked = 0;
  const later: (() => void)[] = [];
  const { raw, stream } = await openOne({}, (peer) => ({
    turn: (work) => {
      asked += 1;
      if (asked % 3 !== 0) return true;
      later.push(work);
      setImmediate(() => later.shift()?.());
      return false;
    },
    handle: ({ message }) => void (message.case === "lease" && nonces.push(message.value.nonce)),
    finish: () => peer.end(),
    close: () => undefined,
  }));
  const leases = Array.from({ length: 1000 }, (_, at) => said({ case: "lease", value: { nonce: BigInt(at + 2) } }));
  raw.stream.end(Buffer.concat(leases));
  expect(await endOf(raw)).toMatchObject({ code: "OK" });
  expect(nonces).toEqual(Array.from({ length: 1001 }, (_, at) => BigInt(at + 1)));
  expect(asked).toBe(1001);
  await expect.poll(() => stream.destroyed).toBe(true);
});

it("while messages wait for a turn, nothing more is read", async () => {
  const { raw, stream } = await openOne({}, () => ({
    turn: () => false,
    handle: () => undefined,
    finish: () => undefined,
    close: () => undefined,
  }));
  await expect.poll(() => stream.isPaused()).toBe(true);
  raw.session.destroy();
});
