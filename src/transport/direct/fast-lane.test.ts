import { once } from "node:events";
import {
  type ClientHttp2Session,
  connect,
  constants,
  createServer,
  type Http2Server,
  type ServerHttp2Stream,
} from "node:http2";
import type { AddressInfo } from "node:net";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { UNBOUND } from "../overload/body-budget.ts";
import { createFastLane, type DirectMethod } from "./fast-lane.ts";

const PATH = "/a.B/C";
/** One message of one byte. */
const BODY = Buffer.from([0, 0, 0, 0, 1, 7]);

let server: Http2Server;
let client: ClientHttp2Session;
let abandoned: string[];
let defects: unknown[];
let routed: number;
let answer: PromiseWithResolvers<Buffer>;

beforeEach(async () => {
  [abandoned, defects, routed, answer] = [[], [], 0, Promise.withResolvers()];
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
  const route = () => {
    routed += 1;
  };
  server = createServer();
  server.on(
    "stream",
    createFastLane({
      ...{ method, route, budget: UNBOUND, onDefect: (error: unknown) => void defects.push(error) },
      ...{ maxMessageBytes: 100, defaultDeadlineMs: 60_000, maxDeadlineMs: 60_000 },
    }),
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  client = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
afterEach(() => {
  client.destroy();
  server.close();
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

describe("the fast lane", () => {
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

  it("refuses a caller without waiting for the request, and reads that to its end", async () => {
    const taken = once(server, "stream");
    const { stream, head } = request({ authorization: "late" });
    expect(await head).toBe(String(Code.Unauthenticated));
    expect(abandoned).toEqual([]);
    stream.end(Buffer.alloc(20_000));
    const [serverStream] = await taken;
    await expect.poll(() => serverStream.readableEnded).toBe(true);
  });

  it("refuses a malformed credential in the turn in which the call comes", async () => {
    let isAnswered: boolean | undefined;
    server.on("stream", (taken: ServerHttp2Stream) => {
      isAnswered = taken.headersSent;
    });
    const { head } = request({ authorization: "malformed" });
    expect(await head).toBe(String(Code.Unauthenticated));
    expect(isAnswered).toBe(true);
  });

  it("ends a call as INTERNAL whose method throws what is no refusal, and tells of it", async () => {
    const { head } = request({ authorization: "defect" });
    expect(await head).toBe(String(Code.Internal));
    expect(defects).toHaveLength(1);
    expect(abandoned).toEqual(["Internal"]);
  });

  it.each<[string, Record<string, string>]>([
    ["another path", { [constants.HTTP2_HEADER_PATH]: "/a.B/D" }],
    ["another content type", { "content-type": "application/json" }],
    ["compression", { "grpc-encoding": "gzip" }],
    ["a malformed timeout", { "grpc-timeout": "soon" }],
  ])("leaves %s to the router", async (_, headers) => {
    request(headers).head.catch(() => undefined);
    await expect.poll(() => routed).toBe(1);
  });
});
