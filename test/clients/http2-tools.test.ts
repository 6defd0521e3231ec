import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { encodeEnvelope } from "@connectrpc/connect/protocol";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { VerifyRequestSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { describeWithCurl, describeWithNghttp } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { outputOf, runProgram } from "../../testkit/run-program.ts";
import { type RunningServer, startEmbedded } from "./running-server.ts";
import { AT_ONCE, CALLS, DEADLINE_MS, LARGE, SECRET_BYTES } from "./seen-by-clients.ts";

const JSON_TYPE = "content-type: application/json";
const CONNECT_STREAM = "content-type: application/connect+json";
/** Of curl: the time of `--max-time` is over. */
const TIME_IS_OVER = 28;

let server: RunningServer;
let folder: string;
beforeAll(async () => {
  [server, folder] = await Promise.all([startEmbedded(), mkdtemp(join(tmpdir(), "claviger-tools-"))]);
  const grpc = toBinary(VerifyRequestSchema, create(VerifyRequestSchema, { secret: server.token }));
  await Promise.all([
    writeFile(file("verify.json"), JSON.stringify({ secret: server.token })),
    writeFile(file("verify.grpc"), encodeEnvelope(0, grpc)),
    writeFile(file("watch.json"), encodeEnvelope(0, Buffer.from("{}"))),
  ]);
});
afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

const file = (name: string) => join(folder, name);
const authorization = () => `authorization: Bearer ${server.token}`;
const url = (method: string) => `${server.process.url}/${method}`;
const VERIFY = "claviger.v1.KeyVerifier/Verify";
const WATCH = "grpc.health.v1.Health/Watch";

/** Without many calls on one connection: by prior knowledge, curl 7.88 fails at the second one, at any server. */
describeWithCurl("curl --http2-prior-knowledge", () => {
  const curl = (method: string, headers: readonly string[], args: readonly string[], stdin = "") =>
    runProgram(
      "curl",
      [...["-sS", "--http2-prior-knowledge", ...args], ...headers.flatMap((each) => ["-H", each]), url(method)],
      { stdin },
    );

  it("calls, with small and with large messages", async () => {
    const headers = [JSON_TYPE, authorization()];
    const one = await curl(VERIFY, headers, ["-d", `@${file("verify.json")}`]);
    expect(JSON.parse(one.stdout)).toMatchObject({ verdict: "VERDICT_VALID" });
    const requests = Array.from({ length: LARGE }, () => ({ secret: "x".repeat(SECRET_BYTES) }));
    const batch = "claviger.v1.KeyVerifier/BatchVerify";
    const large = await curl(batch, headers, ["-d", "@-"], JSON.stringify({ requests }));
    expect(JSON.parse(large.stdout).responses).toHaveLength(LARGE);
  });

  it("gets a stream's messages as they come, and its end at the deadline", async () => {
    const body = ["--data-binary", `@${file("watch.json")}`];
    const expired = await curl(WATCH, [CONNECT_STREAM, `connect-timeout-ms: ${DEADLINE_MS}`], body);
    expect(expired.stdout).toMatch(/"SERVING".*"deadline_exceeded"/s);
    const cancelled = await curl(WATCH, [CONNECT_STREAM], [...body, "--max-time", "1"]);
    expect(cancelled).toMatchObject({ code: TIME_IS_OVER, stdout: expect.stringContaining('"SERVING"') });
  });
});

describeWithNghttp("nghttp and h2load", () => {
  const tool = (name: "nghttp" | "h2load") => join(dirname(inject("nghttp") ?? ""), name);

  /** Verifications so far that ended with the code OK. */
  async function verifiedSoFar(): Promise<number> {
    const text = await (await fetch(url("metrics"))).text();
    const counter =
      /^claviger_call_duration_seconds_count\{method="claviger.v1.KeyVerifier.Verify",code="OK"\} (\d+)$/m;
    return Number(counter.exec(text)?.[1] ?? 0);
  }

  it("nghttp reads a large answer through a window of 15 bytes", async () => {
    const answer = await outputOf(tool("nghttp"), ["--window-bits=4", "--connection-window-bits=4", url("metrics")]);
    const whole = await (await fetch(url("metrics"))).text();
    expect(answer.match(/^# TYPE .*$/gm)).toEqual(whole.match(/^# TYPE .*$/gm));
  });

  it.each([
    ["gRPC", "application/grpc", "verify.grpc"],
    ["Connect", "application/json", "verify.json"],
  ])("h2load makes 10,000 calls of %s on one connection", async (_, type, body) => {
    const before = await verifiedSoFar();
    const output = await outputOf(tool("h2load"), [
      ...[`--requests=${CALLS}`, "--clients=1", `--max-concurrent-streams=${AT_ONCE}`, `--data=${file(body)}`],
      ...["-H", `content-type: ${type}`, "-H", "te: trailers", "-H", authorization(), url(VERIFY)],
    ]);
    expect(output).toContain(`${CALLS} succeeded, 0 failed, 0 errored, 0 timeout`);
    expect(output).toContain(`status codes: ${CALLS} 2xx`);
    // Errors of gRPC have the status 200 as well.
    await eventually(async () => expect((await verifiedSoFar()) - before).toBe(CALLS));
  });
});
