import { once } from "node:events";
import { createServer } from "node:http";
import * as http2 from "node:http2";
import { type AddressInfo, createServer as createNetServer } from "node:net";
import { text } from "node:stream/consumers";
import { expect, it } from "vitest";
import { createMetricsHandler, type MetricsText } from "./metrics-handler.ts";

const METRICS: MetricsText = { contentType: "text/plain; version=0.0.4", text: async () => "a_total 1\n" };

/** Serves on HTTP/1.1 and hands out what a client got. */
async function fetchFrom(metrics: MetricsText, path: string, method = "GET") {
  const handler = createMetricsHandler(metrics, (_req, res) => {
    res.statusCode = 418;
    if (!("stream" in res)) res.end("next");
  });
  const server = createServer(handler).listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const { port } = server.address() as AddressInfo;
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method });
    return { status: answer.status, type: answer.headers.get("content-type"), body: await answer.text() };
  } finally {
    server.close();
  }
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

it("HTTP/2 is answered too", async () => {
  const h2 = http2.createServer(createMetricsHandler(METRICS, () => undefined));
  const server = createNetServer((socket) => h2.emit("connection", socket)).listen(0, "127.0.0.1");
  await once(server, "listening");
  const session = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  try {
    const stream = session.request({ ":path": "/metrics" });
    const [headers] = await once(stream, "response");
    expect([headers[":status"], await text(stream)]).toEqual([200, "a_total 1\n"]);
  } finally {
    session.destroy();
    server.close();
  }
});
