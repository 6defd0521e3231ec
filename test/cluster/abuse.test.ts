import { readFileSync } from "node:fs";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { type ClientHttp2Session, connect as connectHttp2, constants, type IncomingHttpHeaders } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished } from "vitest";
import { Health, HealthCheckResponse_ServingStatus as Status } from "#gen/grpc/health/v1/health_pb.js";
import { Attack } from "../../bench/abuse/attack.ts";
import { HEALTH_PATH, KINDS, type KindName, PATH } from "../../bench/abuse/kinds.ts";
import { eventually } from "../../testkit/eventually.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { type ServerProcess, startServer } from "../../testkit/server-process.ts";

/** By Node and nghttp2, which are told the numbers. */
const ENDED_BY_NODE = [
  "rapid reset",
  "pings, unread",
  "endless header list",
  "empty data",
  "slow reader, deaf",
] as const;
const ENDED_BY_GUARD = ["window updates", "stream window updates", "pings", "settings"] as const;
const HUGE = 1_000_000_000;
/** What the garbage collector may leave for later. */
const MEGABYTES_MORE = 150;
/** Several times what a guarded server takes, and what then fits in buffers of the sockets; fewer where it answers. */
const FRAMES = 3_000_000;
const ANSWERED_FRAMES = 150_000;
const RESETS = 10_000;
const REFUSED = Code.Unauthenticated;

describe("HTTP/2 abuse", () => {
  let server: ServerProcess;
  /** The same without what is shown here. */
  let unguarded: ServerProcess;
  const folders: string[] = [];
  const start = async (policy: object, mutations: readonly Mutation[] = []) => {
    const folder = await mkdtemp(join(tmpdir(), "claviger-"));
    folders.push(folder);
    await cp(inject("embedded").template, join(folder, "database"), { recursive: true });
    const settings = { CLAVIGER_DATA_DIR: folder, CLAVIGER_LOG_LEVEL: "silent" };
    const env = { ...settings, CLAVIGER_POLICY: JSON.stringify({ port: policy }) };
    return startServer({ env, mutate: mutations });
  };

  beforeAll(async () => {
    [server, unguarded] = await Promise.all([
      start({ unreadAnswerMs: 500 }),
      start({ idleBytesPerSecond: HUGE, unreadAnswerMs: HUGE, streamResetBurst: HUGE, streamResetRate: HUGE }),
    ]);
  });
  afterAll(async () => {
    await Promise.all([server?.stop(), unguarded?.stop()]);
    await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })));
  });

  const attack = (url: string, name: KindName, connections?: number) => {
    const kind = connections === undefined ? KINDS[name] : { ...KINDS[name], connections };
    const begun = new Attack({ url, kind });
    onTestFinished(() => begun.stop());
    return begun;
  };
  const megabytes = () => {
    const [, kilobytes] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${server.pid}/status`, "utf8")) ?? [];
    return Number(kilobytes) / 1024;
  };
  const answers = async () => {
    const { status } = await createClient(Health, createGrpcTransport({ baseUrl: server.url })).check({});
    return status === Status.SERVING;
  };

  it.each([...ENDED_BY_NODE, ...ENDED_BY_GUARD])(
    "a client that floods with %s is cut off, and others are answered",
    async (kind) => {
      const before = megabytes();
      const { damage } = attack(server.url, kind);
      expect(await answers()).toBe(true);
      await eventually(() => expect(damage).toMatchObject({ cutOff: 1, open: 0 }));
      expect(await answers()).toBe(true);
      expect(megabytes() - before).toBeLessThan(MEGABYTES_MORE);
    },
  );

  it.each(ENDED_BY_GUARD)("without the limit, %s go on", async (kind) => {
    const frames = kind.includes("window") ? FRAMES : ANSWERED_FRAMES;
    const { damage } = attack(unguarded.url, kind);
    await eventually(() => expect(damage.frames).toBeGreaterThan(frames), { withinMs: 20_000 });
    expect(damage).toMatchObject({ cutOff: 0, open: 1 });
  });

  it("without the limit, calls are begun and reset on and on", async () => {
    const { damage } = attack(unguarded.url, "rapid reset");
    await eventually(() => expect(damage.frames).toBeGreaterThan(RESETS), { withinMs: 20_000 });
    expect(damage).toMatchObject({ cutOff: 0, open: 1 });
  });

  /** A call whose client takes no byte of the answer's message; resolves to the code of its reset. */
  const askWithoutWindow = (url: string) => {
    const session = connectHttp2(url, { settings: { initialWindowSize: 0 } });
    onTestFinished(() => session.destroy());
    session.on("error", () => undefined);
    const stream = session.request({
      [constants.HTTP2_HEADER_METHOD]: "POST",
      [constants.HTTP2_HEADER_PATH]: HEALTH_PATH,
      "content-type": "application/grpc+proto",
      te: "trailers",
    });
    stream.on("error", () => undefined).end(Buffer.alloc(5));
    return { stream, session };
  };

  it("an answer that its client does not take is dropped, and its connection serves on", async () => {
    const [{ stream, session }, control] = [askWithoutWindow(server.url), askWithoutWindow(unguarded.url)];
    await eventually(() => expect(stream.rstCode).toBe(constants.NGHTTP2_CANCEL));
    expect(session.closed).toBe(false);
    // Without the limit it waits.
    expect(control.stream.closed).toBe(false);
  });

  it("many clients that take no answers hold bounded memory, and each of their calls ends", async () => {
    const before = megabytes();
    const { damage } = attack(server.url, "slow reader, no window", 20);
    await eventually(() => expect(damage.open).toBe(20));
    expect(await answers()).toBe(true);
    // Each call ends in a reset: 13 bytes.
    await eventually(() => expect(damage.received).toBeGreaterThan(20 * 128 * 13));
    expect(megabytes() - before).toBeLessThan(MEGABYTES_MORE);
  });

  it.each(["idle, silent", "idle, greeted", "idle, half a preface"] as const)(
    "a thousand connections, %s, do not keep others out",
    async (kind) => {
      const before = megabytes();
      const { damage } = attack(server.url, kind, 1000);
      await eventually(() => expect(damage.open).toBe(1000));
      expect(await answers()).toBe(true);
      expect(megabytes() - before).toBeLessThan(MEGABYTES_MORE);
    },
  );

  describe("messages that are far too long", () => {
    const SYNC_PATH = "/claviger.v1.KeyVerifier/Sync";
    const TOO_LONG = Buffer.alloc(5_000_000, "x");
    /** More than what a connection may send beside its calls would last for. */
    const CALLS = 40;

    const open = (url: string) => {
      // Node (26) counts what a client is yet to send as its memory.
      const session = connectHttp2(url, { maxSessionMemory: 1000 }).on("error", () => undefined);
      onTestFinished(() => session.destroy());
      return session;
    };
    /** Its gRPC status; undefined if there was none. */
    const call = (session: ClientHttp2Session, path: string, message: Buffer) =>
      new Promise<number | undefined>((resolve) => {
        const stream = session.request({
          [constants.HTTP2_HEADER_METHOD]: "POST",
          [constants.HTTP2_HEADER_PATH]: path,
          "content-type": "application/grpc+proto",
          te: "trailers",
        });
        let status: unknown;
        const note = (headers: IncomingHttpHeaders) => {
          status ??= headers["grpc-status"];
        };
        stream
          .on("response", note)
          .on("trailers", note)
          .on("error", () => undefined);
        stream.on("close", () => resolve(status === undefined ? undefined : Number(status)));
        stream.resume().end(message);
      });
    const askTooLong = (session: ClientHttp2Session, path: string) =>
      Promise.all(Array.from({ length: CALLS }, () => call(session, path, TOO_LONG)));

    it.each([
      ["past the router", PATH, REFUSED],
      ["through the router", HEALTH_PATH, Code.ResourceExhausted],
      ["on streams", SYNC_PATH, REFUSED],
    ])("are refused %s, and their connection serves on", async (_, path, code) => {
      const session = open(server.url);
      expect(new Set(await askTooLong(session, path))).toEqual(new Set([code]));
      expect(await call(session, HEALTH_PATH, Buffer.alloc(5))).toBe(0);
      expect(session.destroyed).toBe(false);
    });

    it("control: are taken for a flood where nothing allows for what comes after a refusal", async () => {
      const find = "this.#lateBytes = Math.min(this.#lateBytes + bytes, MOST_LATE_BYTES);";
      const strict = { idleBytesPerSecond: 1024 };
      for (const mutations of [[], [{ file: "src/http2/budgets.ts", find, replace: "" }]]) {
        const { url, stop } = await start(strict, mutations);
        onTestFinished(async () => void (await stop()));
        const session = open(url);
        await askTooLong(session, PATH);
        const status = await call(session, HEALTH_PATH, Buffer.alloc(5)).catch(() => undefined);
        expect(status).toBe(mutations.length === 0 ? 0 : undefined);
      }
    });
  });
});
