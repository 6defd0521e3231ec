import { once } from "node:events";
import { type ClientHttp2Session, connect as connectHttp2, type IncomingHttpHeaders } from "node:http2";
import { describe, expect, it, onTestFinished } from "vitest";
import { eventually } from "../../testkit/eventually.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { LEASE } from "../../testkit/raw-sync.ts";
import { PATHS } from "./connection-plan.ts";
import { type OwnServer, startOwnServer } from "./own-server.ts";

const INTERNAL = "13";
const UNARY = "src/transport/direct/direct-unary.ts";
const SYNC = "src/transport/direct/direct-sync.ts";
const GATE = "src/rpc/gate.ts";

/** Makes calls with that request id fail where the text is found, as a defect would. */
function defect(id: string, { file, find, at }: { readonly file: string; readonly find: string; readonly at: string }) {
  return { file, find, replace: `${find} if (${at} === "${id}") throw new Error("a defect"); ` };
}

const ENTER = defect("enter", {
  file: GATE,
  find: "enter(call: Call, askedId: string | null): string {",
  at: "askedId",
});
const ADMIT = defect("admit", {
  ...{ file: GATE, find: "admit(arriving: ArrivingCall): Promise<void> | undefined {" },
  at: "arriving.call.requestId",
});
const OWN_ID = "this.#requestId";
const DATA = defect("data", { file: UNARY, find: "      this.#received ??= new ReceivedBytes();", at: OWN_ID });
const END = defect("end", { file: UNARY, find: "    this.#isAnswering = true;", at: OWN_ID });
const CLOSE = defect("close", { file: UNARY, find: "  #leave(): void {", at: OWN_ID });
const SYNC_DATA = defect("sync-data", {
  file: SYNC,
  find: "  #take(bytes: Buffer, isLast: boolean): void {",
  at: OWN_ID,
});
const SYNC_END = defect("sync-end", { file: SYNC, find: "  #finish(): void {", at: OWN_ID });
const SYNC_CLOSE = defect("sync-close", { file: SYNC, find: "      this.#open?.close();", at: OWN_ID });
const ALL: readonly Mutation[] = [ENTER, ADMIT, DATA, END, CLOSE, SYNC_DATA, SYNC_END, SYNC_CLOSE];

function connect({ url }: OwnServer): ClientHttp2Session {
  const session = connectHttp2(url).on("error", () => undefined);
  onTestFinished(() => session.destroy());
  return session;
}

/** A call with that id; its gRPC status, or the code of its reset. */
async function statusOf(server: OwnServer, session: ClientHttp2Session, id: string, path: string = PATHS.verify) {
  const stream = session.request({
    ...{ ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers" },
    ...{ authorization: `Bearer ${server.token}`, "x-request-id": id },
  });
  let status: string | undefined;
  const note = (headers: IncomingHttpHeaders) => {
    status ??= headers["grpc-status"]?.toString();
  };
  stream.on("response", note).on("trailers", note).resume();
  stream.on("error", () => undefined).end(path === PATHS.sync ? LEASE : Buffer.alloc(5));
  await new Promise((resolve) => {
    stream.once("close", resolve);
    session.once("close", resolve);
  });
  return status ?? `reset ${stream.rstCode}`;
}

/** A client that goes away in the middle of a call with that id. */
async function goAway(server: OwnServer, id: string, path: string): Promise<void> {
  const session = connect(server);
  const stream = session.request({
    ...{ ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers" },
    ...{ authorization: `Bearer ${server.token}`, "x-request-id": id },
  });
  stream.on("error", () => undefined).write(LEASE.subarray(0, 3));
  await once(session, "remoteSettings");
  await new Promise((resolve) => session.ping(resolve));
  session.destroy();
}

describe("an exception on the direct path", () => {
  it("ends its call as INTERNAL, is logged, and ends nothing else", async () => {
    const server = await startOwnServer({ mutations: ALL, logLevel: "error" });
    const session = connect(server);
    for (const id of ["enter", "admit", "data", "end"]) {
      expect([id, await statusOf(server, session, id)]).toEqual([id, INTERNAL]);
    }
    for (const id of ["enter", "admit", "sync-data", "sync-end"]) {
      expect([id, await statusOf(server, session, id, PATHS.sync)]).toEqual([id, INTERNAL]);
    }
    await goAway(server, "close", PATHS.verify);
    await goAway(server, "sync-close", PATHS.sync);
    expect(await statusOf(server, session, "right")).toBe("0");
    const logged = () => server.stderr().match(/"msg":"internal error/g) ?? [];
    // As many of one message as the log writes in a minute.
    await eventually(() => expect(logged().length).toBeGreaterThanOrEqual(5));
  });

  it("control: ends its whole connection where only the layer below catches it", async () => {
    const uncaught: Mutation = {
      ...{ file: UNARY, find: "  #crash(error: unknown): void {" },
      replace: "  #crash(error: unknown): void { if (error) throw error;",
    };
    const unheard: Mutation = {
      ...{ file: "src/http2/connection.ts", find: "  #onDefect(stream: Http2Stream, error: unknown): void {" },
      replace: "  #onDefect(stream: Http2Stream, error: unknown): void { if (stream) throw error;",
    };
    const server = await startOwnServer({ mutations: [ENTER, uncaught, unheard], hasDefects: true });
    const session = connect(server);
    const isClosed = new Promise((closed) => session.once("close", closed));
    void statusOf(server, session, "enter").catch(() => undefined);
    await isClosed;
    expect(await statusOf(server, connect(server), "right")).toBe("0");
  });
});
