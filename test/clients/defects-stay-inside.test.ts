import { once } from "node:events";
import { type ClientHttp2Session, connect as connectHttp2, type IncomingHttpHeaders } from "node:http2";
import { describe, expect, it, onTestFinished } from "vitest";
import { eventually } from "../../testkit/eventually.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { LEASE } from "../../testkit/raw-sync.ts";
import { PATHS } from "./connection-plan.ts";
import { type OwnServer, startOwnServer } from "./own-server.ts";

const INTERNAL = "13";
const FAST = "src/transport/direct/fast-lane.ts";
const SYNC = "src/transport/direct/sync-lane.ts";
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
const DATA = defect("data", { file: FAST, find: "read(chunk: Buffer): void {", at: OWN_ID });
const END = defect("end", { file: FAST, find: "readAll(): void {", at: OWN_ID });
const CLOSE = defect("close", { file: FAST, find: "leave(): void {", at: OWN_ID });
const HEAD_ID = 'this.#head["x-request-id"]';
const SYNC_DATA = defect("sync-data", { file: SYNC, find: "#read(chunk: Buffer): void {", at: HEAD_ID });
const SYNC_END = defect("sync-end", { file: SYNC, find: "#finish(): void {", at: HEAD_ID });
const SYNC_CLOSE = defect("sync-close", { file: SYNC, find: "#close(): void {", at: HEAD_ID });
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

describe("an exception in the lanes", () => {
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

  const RETHROW = "throw error;";
  it.each<[string, Mutation, Mutation, string]>([
    [
      "as the call comes",
      ENTER,
      {
        file: "src/transport/port/port.ts",
        find: "stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);",
        replace: RETHROW,
      },
      "enter",
    ],
    [
      "in a listener",
      DATA,
      {
        file: FAST,
        find: "work(exchange, event);\n    } catch (error) {",
        replace: `work(exchange, event);\n } catch (error) { ${RETHROW}`,
      },
      "data",
    ],
  ])("control: %s ends the server where nothing catches it", async (where, defective, uncaught, id) => {
    const begin: Mutation = {
      ...{ file: FAST, find: "exchange.begin();\n    } catch (error) {" },
      replace: `exchange.begin();\n    } catch (error) { ${RETHROW}`,
    };
    const mutations = where === "in a listener" ? [defective, uncaught] : [defective, begin, uncaught];
    const server = await startOwnServer({ mutations, hasDefects: true });
    void statusOf(server, connect(server), id).catch(() => undefined);
    expect(await server.exited).toMatchObject({ code: 70 });
  });
});
