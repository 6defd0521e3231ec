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
import { BODIES, PATHS, PLAN, type Plan, piecesOf } from "./connection-plan.ts";

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
    const policy = { port: { drainMs: 600_000, idleTimeoutMs: 600_000, defaultDeadlineMs: 2000 } };
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
});
