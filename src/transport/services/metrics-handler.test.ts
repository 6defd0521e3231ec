import { once } from "node:events";
import * as http2 from "node:http2";
import { text } from "node:stream/consumers";
import { expect, it, onTestFinished } from "vitest";
import { TEST_PORT_LIMITS } from "../../../testkit/port-limits.ts";
import { createPort } from "../port/port.ts";
import { createMetricsHandler, type MetricsText } from "./metrics-handler.ts";

const METRICS: MetricsText = { contentType: "text/plain; version=0.0.4", text: async () => "a_total 1\n" };

async function serve(metrics: MetricsText): Promise<string> {
  const handler = createMetricsHandler(metrics, (exchange) => {
    exchange.respond(418, [], false);
    exchange.write(Buffer.from("next"));
    exchange.end();
  });
  const port = createPort({ host: "127.0.0.1", port: 0, handler, limits: { ...TEST_PORT_LIMITS, drainMs: 0 } });
  onTestFinished(() => port.drain());
  return (await port.listen()).url;
}

/** Asks on HTTP/1.1; what a client got. */
async function fetchFrom(metrics: MetricsText, path: string, method = "GET") {
  const answer = await fetch((await serve(metrics)) + path, { method });
  return { status: answer.status, type: answer.headers.get("content-type"), body: await answer.text() };
}

it.each(["/metrics", "/metrics?name=x"])("GET %s is answered with the metrics", async (path) => {
  expect(await fetchFrom(METRICS, path)).toEqual({ status: 200, type: METRICS.contentType, body: "a_total 1\n" });
});

it("HEAD has no body, and other methods are told what to use", async () => {
  expect(await fetchFrom(METRICS, "/metrics", "HEAD")).toMatchObject({ status: 200, body: "" });
  expect(await fetchFrom(METRICS, "/metrics", "POST")).toMatchObject({ status: 405, body: "Use GET\n" });
});

it.each(["/", "/metricsx", "/claviger.v1.KeyVerifier/Verify"])("%s is for whoever comes next", async (path) => {
  expect(await fetchFrom(METRICS, path)).toMatchObject({ status: 418, body: "next" });
});

it("metrics that cannot be read are an error of the server", async () => {
  const broken = { ...METRICS, text: () => Promise.reject(new Error("broken")) };
  expect(await fetchFrom(broken, "/metrics")).toMatchObject({ status: 500 });
});

it.each([
  ["GET", "a_total 1\n"],
  ["HEAD", ""],
])("%s on HTTP/2 is answered too", async (method, body) => {
  const session = http2.connect(await serve(METRICS));
  onTestFinished(() => session.destroy());
  const stream = session.request({ ":path": "/metrics", ":method": method });
  const [headers] = await once(stream, "response");
  expect([headers[":status"], headers["content-length"], await text(stream)]).toEqual([200, "10", body]);
});
