import type { Settings } from "node:http2";
import { create } from "@bufbuild/protobuf";
import { expect, it, onTestFinished } from "vitest";
import { SyncResponseSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { TEST_PORT_LIMITS } from "../../../testkit/port-limits.ts";
import { endOf, LEASE, openRaw, said } from "../../../testkit/raw-sync.ts";
import type { Http2Stream } from "../../http2/stream.ts";
import type { OpenSync, SyncPeer } from "../../rpc/sync/sync.ts";
import { Peers } from "../http/peer-address.ts";
import { createPort } from "../port/port.ts";
import { tooManyAtOnce } from "../router/router-errors.ts";
import { createDirectSync } from "./direct-sync.ts";
import { AnswerBlocks } from "./plain-grpc.ts";

/** More than may wait before nothing is read any more. */
const MUCH = create(SyncResponseSchema, { message: { case: "change", value: { keyIds: ["x".repeat(100_000)] } } });

const answerMuch = (peer: SyncPeer): OpenSync => ({
  ...{ turn: () => true, handle: () => peer.send(MUCH), finish: () => peer.end(), close: () => undefined },
});

/** A client's stream, and the server's end of it once it is open. */
async function openOne(settings: Settings = {}, open: (peer: SyncPeer) => OpenSync = answerMuch) {
  const opened = Promise.withResolvers<{ readonly stream: Http2Stream; readonly peer: SyncPeer }>();
  const port = createPort({
    ...{ host: "127.0.0.1", port: 0, handler: () => expect.unreachable("HTTP/1.1 is not asked") },
    streams: (stream) => {
      const serve = createDirectSync({
        ...{ maxMessageBytes: 1000, mostWaitingBytes: 128 * 1024, route: () => undefined },
        ...{ peers: new Peers(), blocks: new AnswerBlocks(), onDefect: () => undefined },
        method: {
          ...{ path: "/claviger.v1.KeyVerifier/Sync", enter: () => "id", admit: () => undefined },
          ...{ unread: tooManyAtOnce, ended: () => undefined },
          open: (_call, _authorization, peer) => {
            opened.resolve({ stream, peer });
            return open(peer);
          },
        },
      });
      serve(stream);
    },
    limits: { ...TEST_PORT_LIMITS, drainMs: 0 },
  });
  onTestFinished(() => port.drain());
  const { url } = await port.listen();
  const raw = openRaw({ url, adminToken: "a" }, {}, settings);
  onTestFinished(() => raw.session.destroy());
  raw.stream.write(LEASE);
  return { raw, ...(await opened.promise) };
}

it("a stream that is ended while nothing is read from it is gone once its client has read why", async () => {
  const { raw, stream, peer } = await openOne({ initialWindowSize: 1000 });
  await expect.poll(() => stream.isPaused).toBe(true);
  raw.stream.end(LEASE);
  await expect.poll(() => stream.isRemoteEnded).toBe(true);
  peer.end(tooManyAtOnce());
  expect(stream.isClosed).toBe(false);
  expect(await endOf(raw)).toMatchObject({ code: "UNAVAILABLE", messages: 1 });
  await expect.poll(() => stream.isClosed).toBe(true);
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
  await expect.poll(() => stream.isClosed).toBe(true);
});

it("while messages wait for a turn, no more comes than one window", async () => {
  const { raw, stream } = await openOne({}, () => ({
    turn: () => false,
    handle: () => undefined,
    finish: () => undefined,
    close: () => undefined,
  }));
  await expect.poll(() => stream.isPaused).toBe(true);
  raw.stream.write(Buffer.alloc(200_000));
  await expect.poll(() => stream.received).toBe(65_535);
  await new Promise((resolve) => raw.session.ping(resolve));
  expect(stream.received).toBe(65_535);
});
