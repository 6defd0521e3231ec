import { once } from "node:events";
import { cp, mkdtemp, readdir, readFile, readlink, rm } from "node:fs/promises";
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { afterEach, describe, expect, inject, it, onTestFinished } from "vitest";
import { eventually } from "../../testkit/eventually.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { type ServerProcess, startServer } from "../../testkit/server-process.ts";
import { BODIES, GOAWAY, PATHS, PLAN, type Plan, piecesOf } from "./connection-plan.ts";

/** Connections at once. */
const AT_ONCE = 4;
const RUNS = 150;

describe("connections that break every rule, at any byte,", () => {
  let folder: string;
  let server: ServerProcess;
  let token: string;

  async function start(mutate: readonly Mutation[] = []): Promise<void> {
    folder = await mkdtemp(join(tmpdir(), "claviger-"));
    await cp(inject("embedded").template, join(folder, "database"), { recursive: true });
    // What is left open would be for longer than a test waits, and hold up the server's end: but for a call whose
    // connection Node (26) has given up silently, as after GOAWAY and a PING that is too long, until its deadline.
    const policy = { port: { returnMs: 20, drainMs: 600_000, idleTimeoutMs: 600_000, defaultDeadlineMs: 2000 } };
    const settings = { CLAVIGER_DATA_DIR: folder, CLAVIGER_LOG_LEVEL: "error" };
    const env = { ...settings, CLAVIGER_POLICY: JSON.stringify(policy) };
    server = await startServer({ env, mutate, hasDefects: mutate.length > 0 });
    token = (await readFile(join(folder, "admin-key"), "utf8")).trim();
  }
  afterEach(async () => {
    await server?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  async function play(plan: Plan): Promise<void> {
    const socket = connectTcp({ host: "127.0.0.1", port: server.port, noDelay: true });
    onTestFinished(() => void socket.destroy());
    socket.on("error", () => undefined);
    if (!plan.isDeaf) socket.resume();
    const closed = new Promise<void>((resolve) => void socket.once("close", () => resolve()));
    for (const piece of piecesOf(plan, token)) {
      if (socket.destroyed) return;
      socket.write(piece);
      await sleep(1);
    }
    if (plan.ending !== "RST at once") await sleep(5);
    if (plan.ending === "FIN") {
      socket.end().resume();
      await Promise.race([closed, sleep(1000)]);
    }
    socket.resetAndDestroy();
    await closed;
  }

  /** That the server has open. */
  const sockets = async () => {
    const folder = `/proc/${server.pid}/fd`;
    const names = await Promise.all(
      (await readdir(folder)).map((name) => readlink(join(folder, name)).catch(() => "closed")),
    );
    return names.filter((name) => name.startsWith("socket:")).length;
  };

  /** The status of a call on a connection that was there before. */
  async function verify(session: ClientHttp2Session): Promise<unknown> {
    const stream = session.request({
      ...{ ":method": "POST", ":path": PATHS.verify, te: "trailers" },
      ...{ "content-type": "application/grpc+proto", authorization: `Bearer ${token}` },
    });
    stream.resume().end(BODIES[0]);
    const lost = once(stream, "close").then(() => Promise.reject(new Error(`no answer: ${server.stderr()}`)));
    const [trailers] = await Promise.race([once(stream, "trailers"), lost]);
    return trailers["grpc-status"];
  }

  const PLANS = fc.array(PLAN, { minLength: AT_ONCE, maxLength: AT_ONCE });

  it("end neither the server nor another's call, and leave nothing open", async () => {
    await start();
    const session = connectHttp2(server.url).on("error", () => undefined);
    expect(await verify(session)).toBe("0");
    const before = await sockets();
    await fc.assert(
      fc.asyncProperty(PLANS, async (plans) => {
        const [status] = await Promise.all([verify(session), ...plans.map(play)]);
        expect(status).toBe("0");
      }),
      { numRuns: RUNS, endOnFailure: true },
    );
    expect(await verify(session)).toBe("0");
    await eventually(async () => expect(await sockets()).toBeLessThanOrEqual(before));
    session.close();
    expect(await server.stop()).toBe(0);
    expect(server.stderr()).toBe("");
  }, 300_000);

  const PORT = "src/transport/port/port.ts";

  /** Has connections wait where any was broken, and not only after a flood: more is read then before they are served. */
  const WAITS: readonly Mutation[] = [
    {
      file: PORT,
      find: "isFlood = error.code === TOO_MANY_INVALID_FRAMES || error.errno === NGHTTP2_ERR_FLOODED;",
      replace: "isFlood = true;",
    },
    {
      file: "src/transport/port/slow-return.ts",
      find: "return hasBehaving(address) ? undefined : sleep(",
      replace: "return sleep(",
    },
  ];

  it.each<[where: string, readonly Mutation[]]>([
    [
      "what was read before goes on being handed to a session that has ended",
      [{ file: PORT, find: "session.destroyed ? null : read(size)", replace: "read(size)" }, ...WAITS],
    ],
    [
      "nobody listens for errors of a request whose answer is closed",
      [{ file: PORT, find: '    req.on("error", () => {});\n', replace: "" }],
    ],
  ])("control: end the server where %s", async (_, mutations) => {
    await start(mutations);
    const ended = server.exited.then(({ code }) => code);
    const lives = fc.asyncProperty(PLANS, async (plans) => {
      await Promise.all(plans.map(play));
      return (await Promise.race([ended, sleep(1, "running")])) === "running";
    });
    expect((await fc.check(lives, { numRuns: 5000, endOnFailure: true })).failed).toBe(true);
    expect(await ended).toBe(70);
  });

  it("control: stay open where the socket is not read again", async () => {
    await start([{ file: PORT, find: "    socket.read = read;\n", replace: "" }]);
    const before = await sockets();
    const goAway = { kind: "frame", type: GOAWAY, flags: 0, stream: 0, payload: Buffer.alloc(8) } as const;
    const whole = {
      version: "HTTP/2",
      method: "POST",
      headers: {},
      flips: [],
      cuts: [],
      until: 1,
      isDeaf: false,
    } as const;
    // On a machine that is busy the client may have hung up before the server looks.
    await eventually(
      async () => {
        for (let count = 0; count < 10; count++) await play({ ...whole, steps: [goAway], ending: "RST" });
        await sleep(500);
        expect(await sockets()).toBeGreaterThan(before);
      },
      { withinMs: 45_000 },
    );
  });
});
