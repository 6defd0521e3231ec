import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it, onTestFinished } from "vitest";
import { startServer } from "../support/server-process.ts";

/** Longer than a client has to end its body once it was answered, and shorter than it has to take the answer. */
const LATE_MS = 1500;
const CALLS = 20;

it("an answer that is taken late, to calls whose bodies never end, neither stalls the server nor is lost", async () => {
  const folder = await mkdtemp(join(tmpdir(), "claviger-"));
  // A process of its own: where this goes wrong, it does nothing else any more.
  const server = await startServer({ env: { CLAVIGER_DATA_DIR: folder } });
  onTestFinished(async () => {
    await server.kill("SIGKILL");
    await rm(folder, { recursive: true, force: true });
  });
  const session = connect(server.url, { settings: { initialWindowSize: 0 } }).on("error", () => undefined);
  const calls = Array.from({ length: CALLS }, () => {
    const headers = {
      ":method": "POST",
      ":path": "/claviger.v1.KeyVerifier/Verify",
      "content-type": "application/json",
    };
    const stream = session.request(headers).on("error", () => undefined);
    stream.write("{");
    return stream;
  });
  await Promise.all(calls.map((stream) => once(stream, "response")));
  await sleep(LATE_MS);
  session.settings({ initialWindowSize: 65_535 });
  const bodies = calls.map(async (stream) => Buffer.concat(await stream.toArray()).toString());
  expect(await Promise.race([Promise.all(bodies), sleep(5000, "nothing more is answered")])).toEqual(
    Array.from({ length: CALLS }, () => expect.stringContaining("CREDENTIAL_MISSING")),
  );
  expect((await fetch(`${server.url}/metrics`, { signal: AbortSignal.timeout(5000) })).status).toBe(200);
  session.destroy();
});
