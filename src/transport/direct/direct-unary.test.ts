import { once } from "node:events";
import { type ClientHttp2Session, connect, constants } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { TEST_PORT_LIMITS } from "../../../testkit/port-limits.ts";
import type { Http2Stream } from "../../http2/stream.ts";
import type { ReadBody } from "../http/http2-exchange.ts";
import { Peers } from "../http/peer-address.ts";
import { createPort } from "../port/port.ts";
import { createDirectUnary, type DirectMethod } from "./direct-unary.ts";
import { AnswerBlocks } from "./plain-grpc.ts";

const PATH = "/a.B/C";
/** One message of one byte. */
const BODY = Buffer.from([0, 0, 0, 0, 1, 7]);

let client: ClientHttp2Session;
let taken: Http2Stream[];
/** Of each stream, whether it was answered in the turn in which its head came. */
let answeredAtOnce: boolean[];
let abandoned: string[];
let defects: unknown[];
let routed: (ReadBody | undefined)[];
let answer: PromiseWithResolvers<Buffer>;

beforeEach(async () => {
  [abandoned, defects, routed, answer] = [[], [], [], Promise.withResolvers()];
  [taken, answeredAtOnce] = [[], []];
  const method: DirectMethod = {
    path: PATH,
    enter: () => "id",
    admit: (_, authorization) => {
      if (authorization === "defect") throw new Error("a defect");
      const refusal = new ConnectError("no", Code.Unauthenticated);
      if (authorization === "malformed") throw refusal;
      return authorization === "late" ? Promise.reject(refusal) : undefined;
    },
    answer: () => answer.promise,
    abandoned: (_, error) => abandoned.push(Code[error.code] ?? ""),
  };
  const serve = createDirectUnary({
    ...{ method, maxMessageBytes: 100, defaultDeadlineMs: 60_000, maxDeadlineMs: 60_000 },
    ...{ peers: new Peers(), blocks: new AnswerBlocks(), onDefect: (error: unknown) => void defects.push(error) },
    route: (_, body) => void routed.push(body),
  });
  const port = createPort({
    ...{ host: "127.0.0.1", port: 0, handler: () => expect.unreachable("HTTP/1.1 is not asked") },
    streams(stream) {
      taken.push(stream);
      serve(stream);
      answeredAtOnce.push(stream.isAnswered);
    },
    limits: { ...TEST_PORT_LIMITS, drainMs: 0 },
  });
  const { url } = await port.listen();
  client = connect(url);
  onTestFinished(async () => {
    client.destroy();
    await port.drain();
  });
});

function request(headers: Readonly<Record<string, string>> = {}) {
  const stream = client.request(
    {
      [constants.HTTP2_HEADER_METHOD]: "POST",
      [constants.HTTP2_HEADER_PATH]: PATH,
      "content-type": "application/grpc",
      ...headers,
    },
    { endStream: false },
  );
  stream.on("error", () => undefined);
  const head = once(stream, "response").then(([response]) => response["grpc-status"] as string | undefined);
  return { stream, head };
}

describe("the direct path", () => {
  it("ends a call whose deadline passes while it is answered, tells so once, and drops the answer", async () => {
    const { stream, head } = request({ "grpc-timeout": "30m" });
    stream.end(BODY);
    expect(await head).toBe(String(Code.DeadlineExceeded));
    answer.resolve(Buffer.alloc(6));
    await once(stream, "close");
    expect(abandoned).toEqual(["DeadlineExceeded"]);
  });

  it("ends a call whose request does not arrive within its deadline", async () => {
    const { stream, head } = request({ "grpc-timeout": "30m" });
    stream.write(BODY.subarray(0, 3));
    expect(await head).toBe(String(Code.DeadlineExceeded));
    expect(abandoned).toEqual(["DeadlineExceeded"]);
  });

  it("tells once of a client that went away, and answers it no more", async () => {
    const { stream } = request();
    stream.end(BODY);
    await new Promise((done) => setTimeout(done, 50));
    stream.close(constants.NGHTTP2_CANCEL);
    await expect.poll(() => abandoned).toEqual(["Canceled"]);
    answer.resolve(Buffer.alloc(6));
    await new Promise((done) => setTimeout(done, 20));
    expect(abandoned).toHaveLength(1);
  });

  it("refuses a caller without waiting for the request, and drops that", async () => {
    const { stream, head } = request({ authorization: "late" });
    expect(await head).toBe(String(Code.Unauthenticated));
    expect(abandoned).toEqual([]);
    stream.end(Buffer.alloc(20_000));
    await once(stream.resume(), "close");
    expect([stream.rstCode, client.closed]).toEqual([constants.NGHTTP2_NO_ERROR, false]);
    expect(taken.map(({ isClosed }) => isClosed)).toEqual([true]);
  });

  it("refuses a malformed credential in the turn in which the call comes", async () => {
    const { head } = request({ authorization: "malformed" });
    expect(await head).toBe(String(Code.Unauthenticated));
    expect(answeredAtOnce).toEqual([true]);
  });

  it("ends a call as INTERNAL whose method throws what is no refusal, and tells of it", async () => {
    const { head } = request({ authorization: "defect" });
    expect(await head).toBe(String(Code.Internal));
    expect(defects).toHaveLength(1);
    expect(abandoned).toEqual(["Internal"]);
  });

  it.each<[string, Record<string, string>]>([
    ["another content type", { "content-type": "application/json" }],
    ["compression", { "grpc-encoding": "gzip" }],
    ["a malformed timeout", { "grpc-timeout": "soon" }],
    ["another method", { [constants.HTTP2_HEADER_METHOD]: "PUT" }],
  ])("leaves %s to the router, and its whole body", async (_, headers) => {
    request(headers).head.catch(() => undefined);
    await expect.poll(() => routed).toEqual([undefined]);
  });

  it.each<[string, Buffer, boolean]>([
    ["two messages", Buffer.concat([BODY, BODY]), true],
    ["a compressed message", Buffer.from([1, 0, 0, 0, 1, 7]), true],
    ["a part of a message", BODY.subarray(0, 3), true],
    ["a message that is too large", Buffer.from([0, 0, 0, 0, 101, 7]), false],
  ])("leaves %s to the router, with what has been read of the body", async (_, body, isAll) => {
    const { stream, head } = request();
    head.catch(() => undefined);
    if (isAll) stream.end(body);
    else stream.write(body);
    await expect.poll(() => routed.length).toBe(1);
    expect(routed[0]?.bytes.equals(body)).toBe(true);
  });

  it("answers a message that comes byte by byte", async () => {
    const { stream, head } = request();
    for (const byte of BODY) {
      stream.write(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
    stream.end();
    answer.resolve(Buffer.from([0, 0, 0, 0, 0, 9]));
    await head;
    const [chunk] = await once(stream, "data");
    expect(chunk).toEqual(Buffer.from([0, 0, 0, 0, 1, 9]));
    expect(routed).toEqual([]);
  });
});
