import { connect as connectTcp } from "node:net";
import { text } from "node:stream/consumers";
import { describe, expect, it, onTestFinished } from "vitest";
import { eventually } from "../../testkit/eventually.ts";
import { FLAG, frame, greeting, headerBlock, TYPE } from "../../testkit/http2-frames.ts";
import { PATHS } from "./connection-plan.ts";
import { type OwnServer, startOwnServer } from "./own-server.ts";

const LIST = PATHS.listKeys;

/** The answer to one HTTP/1.1 request with those lines in its head. */
async function http1({ port }: OwnServer, lines: readonly string[]): Promise<string> {
  const socket = connectTcp({ host: "127.0.0.1", port });
  onTestFinished(() => void socket.destroy());
  const head = [`POST ${LIST} HTTP/1.1`, "content-type: application/json", "content-length: 2", "connection: close"];
  socket.write([...head, ...lines, "", "{}"].join("\r\n"));
  return text(socket);
}

/** What the log says of an HTTP/2 call with those `authorization` fields. */
async function http2(server: OwnServer, id: string, { path, values }: { path: string; values: readonly string[] }) {
  const socket = connectTcp({ host: "127.0.0.1", port: server.port });
  onTestFinished(() => void socket.destroy());
  const fields = { ":method": "POST", ":scheme": "http", ":authority": "x", ":path": path, te: "trailers" };
  const block = Buffer.concat([
    headerBlock({ ...fields, "content-type": "application/grpc", "x-request-id": id }),
    ...values.map((authorization) => headerBlock({ authorization })),
  ]);
  socket.on("error", () => undefined).resume();
  const data = frame(TYPE.data, FLAG.endStream, 1, Buffer.alloc(5));
  socket.write(Buffer.concat([greeting(), frame(TYPE.headers, FLAG.endHeaders, 1, block), data]));
  return eventually(() => {
    const line = server
      .stderr()
      .split("\n")
      .find((logged) => logged.includes(`"requestId":"${id}"`));
    if (line === undefined) throw new Error(`nothing is logged about ${id}`);
    const { code, reason } = JSON.parse(line);
    return { code, reason };
  });
}

describe("headers that come twice", () => {
  it("are refused where they are two different credentials, on both HTTP versions and in every lane", async () => {
    const server = await startOwnServer({ logLevel: "debug" });
    const good = `Bearer ${server.token}`;
    const twice = ([first, second]: readonly [string, string]) =>
      http1(server, ["host: x", `authorization: ${first}`, `Authorization: ${second}`]);
    expect(await twice([good, good])).toMatch(/^HTTP\/1\.1 200 /);
    for (const values of [
      [good, "Bearer other"],
      ["Bearer other", good],
      [good, "Basic other"],
    ] as const) {
      const answer = await twice(values);
      expect(answer).toMatch(/^HTTP\/1\.1 401 /);
      expect(answer).toContain("Send one `authorization` header with one credential");
    }
    const refused = { code: "UNAUTHENTICATED", reason: "CREDENTIAL_INVALID" };
    for (const [name, path] of [
      ["verify", PATHS.verify],
      ["sync", PATHS.sync],
      ["list", LIST],
    ] as const) {
      const different = { path, values: [good, "Bearer other"] };
      expect([name, await http2(server, `${name}-differ`, different)]).toEqual([name, refused]);
    }
    const same = { path: PATHS.verify, values: [good, good] };
    expect(await http2(server, "same", same)).toMatchObject({ code: "OK" });
  });

  it("control: the first would count where fields with one value are not joined", async () => {
    const server = await startOwnServer({
      logLevel: "debug",
      mutations: [
        {
          file: "src/transport/http/repeated-fields.ts",
          find: "if (values.size > 1)",
          replace: "if (values.size > 99)",
        },
        {
          file: "src/http2/request-head.ts",
          find: "else if (before !== value || !SINGLE.has(name)) headers.set(",
          replace: "else if (!SINGLE.has(name)) headers.set(",
        },
      ],
    });
    const good = `Bearer ${server.token}`;
    const lines = ["host: x", `authorization: ${good}`, "authorization: Bearer other"];
    expect(await http1(server, lines)).toMatch(/^HTTP\/1\.1 200 /);
    const values = { path: PATHS.verify, values: [good, "Bearer other"] };
    expect(await http2(server, "first", values)).toMatchObject({ code: "OK" });
  });

  it("are refused where they are two hosts", async () => {
    const server = await startOwnServer();
    const authorization = `authorization: Bearer ${server.token}`;
    expect(await http1(server, [authorization, "host: x"])).toMatch(/^HTTP\/1\.1 200 /);
    expect(await http1(server, [authorization, "host: x", "host: y"])).toMatch(/^HTTP\/1\.1 400 /);
    expect(await http1(server, [authorization, "host: x", "Host: x"])).toMatch(/^HTTP\/1\.1 400 /);
  });
});
