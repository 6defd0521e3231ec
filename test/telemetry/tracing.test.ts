import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { context, propagation, trace } from "@opentelemetry/api";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { NodeTracerProvider, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-node";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { requireKey } from "../../src/sdk/http/index.ts";
import { createVerifier } from "../../src/sdk/index.ts";
import { startClaviger, type TestClaviger } from "../../testkit/claviger.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { makeKey } from "../rpc/make-key.ts";

interface ExportedSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly attributes: readonly { readonly key: string; readonly value: { readonly stringValue?: string } }[];
}
interface Export {
  readonly resourceSpans: readonly { readonly scopeSpans: readonly { readonly spans: readonly ExportedSpan[] }[] }[];
}

const CALLER = { trace: "0af7651916cd43dd8448eb211c80319c", span: "b7ad6b7169203331" };
const traceparent = (flags: "00" | "01") => ({
  headers: { traceparent: `00-${CALLER.trace}-${CALLER.span}-${flags}` },
});

describeWithPostgres("With an SDK of the operator that exports by OTLP", () => {
  const spans: ExportedSpan[] = [];
  const receiver = createServer((request, response) => {
    const take = async () => {
      const { resourceSpans } = (await json(request)) as Export;
      spans.push(...resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans)));
      response.end("{}");
    };
    void take();
  });
  let provider: NodeTracerProvider;
  let claviger: TestClaviger;

  beforeAll(async () => {
    await new Promise<void>((listening) => receiver.listen(0, "127.0.0.1", listening));
    const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/v1/traces`;
    provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(new OTLPTraceExporter({ url }))] });
    provider.register({ propagator: new W3CTraceContextPropagator() });
    claviger = await startClaviger("postgres");
  });
  afterAll(async () => {
    await claviger?.close();
    await provider.shutdown();
    receiver.close();
    trace.disable();
    context.disable();
    propagation.disable();
  });
  beforeEach(async () => {
    await exported();
    spans.length = 0;
  });

  async function exported(): Promise<readonly ExportedSpan[]> {
    await provider.forceFlush();
    return spans;
  }

  it("a management call, its transaction and its barrier are in the trace of the caller", async () => {
    const { id } = await makeKey(claviger.admin, { owner: "traced" });
    await claviger.admin.keys.revokeKey({ keyId: id }, traceparent("01"));
    const traced = (await exported()).filter(({ traceId }) => traceId === CALLER.trace);
    const call = traced.find(({ name }) => name === "claviger.v1.KeyManagement/RevokeKey");
    expect(call?.parentSpanId).toBe(CALLER.span);
    const attributes = call?.attributes.map(({ key, value }) => [key, value.stringValue]);
    expect(Object.fromEntries(attributes ?? [])).toEqual({
      "rpc.system.name": "grpc",
      "rpc.method": "claviger.v1.KeyManagement/RevokeKey",
      "rpc.response.status_code": "OK",
    });
    const inside = traced.filter(({ parentSpanId }) => parentSpanId === call?.spanId).map(({ name }) => name);
    expect(inside).toEqual(expect.arrayContaining(["claviger.transaction", "claviger.barrier"]));
  });

  it("a request to a service that requires keys, its question and the read of storage are one trace", async () => {
    const { secret } = await makeKey(claviger.admin, { owner: "caller" });
    const verifier = createVerifier({ url: claviger.url, token: claviger.adminToken });
    await verifier.ready();
    const requires = requireKey(verifier);
    // As the SDK's instrumentation of Node's http does.
    const service = createServer((request, response) => {
      const parent = propagation.extract(context.active(), request.headers);
      const span = trace.getTracer("service").startSpan("service", {}, parent);
      const handle = () => {
        span.end();
        response.end("let in");
      };
      context.with(trace.setSpan(parent, span), () => requires(request, response, handle));
    });
    try {
      await new Promise<void>((listening) => service.listen(0, "127.0.0.1", listening));
      const headers = { ...traceparent("01").headers, authorization: `Bearer ${secret}` };
      const url = `http://127.0.0.1:${(service.address() as AddressInfo).port}`;
      expect(await (await fetch(url, { headers })).text()).toBe("let in");
      const traced = (await exported()).filter(({ traceId }) => traceId === CALLER.trace);
      const named = (name: string) => traced.find((span) => span.name === name);
      const read = named("claviger.read_secret");
      const question = traced.find(({ spanId }) => spanId === read?.parentSpanId);
      // On its stream, or by a call where the stream is late on a busy machine.
      expect(question?.name).toMatch(/^claviger\.v1\.KeyVerifier\/(Sync|Verify)$/);
      expect(question?.parentSpanId).toBe(named("service")?.spanId);
      expect(named("service")?.parentSpanId).toBe(CALLER.span);
    } finally {
      service.close();
      await verifier.close();
    }
  });

  it("a warm Verify makes no span, with or without a traceparent that is not sampled", async () => {
    const { secret } = await makeKey(claviger.admin, { owner: "warm" });
    const verify = (options = {}) => claviger.admin.verifier.verify({ secret }, options);
    await verify();
    await exported();
    spans.length = 0;
    await verify();
    await verify(traceparent("00"));
    expect(await exported()).toEqual([]);
    // The control: the same call, sampled.
    await verify(traceparent("01"));
    expect(await exported()).toMatchObject([
      { name: "claviger.v1.KeyVerifier/Verify", traceId: CALLER.trace, parentSpanId: CALLER.span },
    ]);
  });

  it("a sampled Verify that reads storage shows the read, and no span holds the secret", async () => {
    const { secret } = await makeKey(claviger.admin, { owner: "cold" });
    await claviger.admin.verifier.verify({ secret }, traceparent("01"));
    const [read, call] = (await exported()).filter(({ traceId }) => traceId === CALLER.trace);
    expect(read).toMatchObject({ name: "claviger.read_secret", parentSpanId: call?.spanId });
    expect(JSON.stringify(spans)).not.toContain(secret);
  });
});
