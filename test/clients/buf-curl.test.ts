import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { REPOSITORY } from "../../testkit/repository-copy.ts";
import { outputOf, runProgram } from "../../testkit/run-program.ts";
import { type RunningServer, startEmbedded } from "./running-server.ts";
import { LARGE, SECRET_BYTES } from "./seen-by-clients.ts";

const BUF = join(REPOSITORY, "node_modules/.bin/buf");
/** What buf makes of a gRPC code: eight times it. */
const NOT_FOUND = 5 * 8;

const PROTOCOLS = ["grpc", "grpcweb", "connect"] as const;
const HTTP2 = "--http2-prior-knowledge";

describe("buf curl", () => {
  let folder: string;
  let image: string;
  let server: RunningServer;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "claviger-buf-"));
    image = join(folder, "claviger.binpb");
    [server] = await Promise.all([startEmbedded(), outputOf(BUF, ["build", "-o", image], { cwd: REPOSITORY })]);
  });
  afterAll(async () => {
    await server.close();
    await rm(folder, { recursive: true, force: true });
  });

  function curl(method: string, request: object, options: readonly string[]) {
    const url = `${server.process.url}/claviger.v1.${method}`;
    const args = ["curl", ...options, "-H", `authorization: Bearer ${server.token}`, "-d", "@-", url];
    return runProgram(BUF, args, { cwd: folder, stdin: JSON.stringify(request) });
  }

  const ways = [
    ...PROTOCOLS.map((protocol) => ({
      protocol,
      name: "HTTP/2, with the schema from reflection",
      options: () => [HTTP2],
    })),
    ...PROTOCOLS.map((protocol) => ({
      protocol,
      name: "HTTP/2, with the schema from an image",
      options: () => [HTTP2, "--schema", image],
    })),
    ...(["grpcweb", "connect"] as const).map((protocol) => ({
      protocol,
      name: "HTTP/1.1, with the schema from an image",
      options: () => ["--schema", image],
    })),
  ];

  it.each(ways)("verifies a secret and gets a refusal over $protocol on $name", async ({ protocol, options }) => {
    const flags = ["--protocol", protocol, ...options()];
    const verified = await curl("KeyVerifier/Verify", { secret: server.token }, flags);
    expect(verified).toMatchObject({ code: 0, stderr: "" });
    expect(JSON.parse(verified.stdout)).toMatchObject({
      verdict: "VERDICT_VALID",
      key: { owner: "claviger:admin", displayName: "admin" },
    });

    const refused = await curl("KeyManagement/GetKey", { keyId: `key_${"0".repeat(26)}` }, flags);
    expect(refused.code).toBe(NOT_FOUND);
    const { code, details } = JSON.parse(refused.stderr);
    expect({ code, type: details[0].type }).toEqual({ code: "not_found", type: "google.rpc.ErrorInfo" });
    const info = fromBinary(ErrorInfoSchema, Buffer.from(details[0].value, "base64"));
    expect(info).toMatchObject({ reason: "KEY_NOT_FOUND", domain: "claviger" });
  });

  it("sends a large message", async () => {
    const requests = Array.from({ length: LARGE }, () => ({ secret: "x".repeat(SECRET_BYTES) }));
    const { stdout } = await curl("KeyVerifier/BatchVerify", { requests }, [HTTP2, "--protocol", "grpc"]);
    expect(JSON.parse(stdout).responses).toHaveLength(LARGE);
  });

  it.each(PROTOCOLS)("gets the first message of a stream over %s, and cancels the stream", async (protocol) => {
    const watch = `${server.process.url}/grpc.health.v1.Health/Watch`;
    // As a group, like a terminal's: npm's program starts the one that calls.
    const options = ["curl", HTTP2, "--protocol", protocol, "-d", "{}", watch];
    const child = spawn(BUF, options, { cwd: folder, detached: true });
    const ended = once(child, "close");
    let output = "";
    for await (const chunk of child.stdout) {
      output += chunk;
      if (output.includes("}")) break;
    }
    if (child.pid !== undefined) process.kill(-child.pid, "SIGINT");
    await ended;
    expect(JSON.parse(output)).toEqual({ status: "SERVING" });
  });

  it("lists the services by reflection", async () => {
    const listed = await outputOf(BUF, ["curl", HTTP2, "--list-services", server.process.url], { cwd: folder });
    expect(listed.split("\n")).toEqual(
      expect.arrayContaining(["claviger.v1.KeyManagement", "claviger.v1.KeyVerifier"]),
    );
  });
});
