import { once } from "node:events";
import * as http2 from "node:http2";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, it } from "vitest";
import { TEST_PORT_LIMITS } from "../../../testkit/port-limits.ts";
import { createPort } from "../port/port.ts";
import { createProbes, type Readiness } from "./probes.ts";

const READY: Readiness = { ready: true, causes: { storage: { status: "ok" } } };
const NOT_READY: Readiness = { ready: false, causes: { storage: { status: "failing", detail: "away" } } };

let readiness = READY;
const handler = createProbes(
  () => readiness,
  (exchange) => exchange.respond(418, [], true),
);
const port = createPort({ host: "127.0.0.1", port: 0, handler, limits: { ...TEST_PORT_LIMITS, drainMs: 0 } });
let url: string;

beforeAll(async () => {
  ({ url } = await port.listen());
});
afterAll(() => port.drain());

async function overHttp1(path: string, method: string) {
  const answer = await fetch(url + path, { method });
  return [answer.status, await answer.text()];
}

async function overHttp2(path: string, method: string) {
  const session = http2.connect(url);
  try {
    const stream = session.request({ ":path": path, ":method": method });
    const [headers] = await once(stream, "response");
    return [headers[":status"], await text(stream)];
  } finally {
    session.destroy();
  }
}

it.each([
  ["HTTP/1.1", overHttp1],
  ["HTTP/2", overHttp2],
] as const)("probes are answered on %s, by GET and HEAD", async (_, ask) => {
  readiness = READY;
  expect(await ask("/healthz", "GET")).toEqual([200, "ok\n"]);
  expect(await ask("/readyz?verbose", "GET")).toEqual([200, `${JSON.stringify(READY)}\n`]);
  readiness = NOT_READY;
  expect(await ask("/healthz", "HEAD")).toEqual([200, ""]);
  expect(await ask("/readyz", "HEAD")).toEqual([503, ""]);
  expect(await ask("/readyz", "GET")).toEqual([503, `${JSON.stringify(NOT_READY)}\n`]);
  expect(await ask("/readyz", "POST")).toEqual([405, "Use GET\n"]);
  expect(await ask("/readyzx", "GET")).toEqual([418, ""]);
});
