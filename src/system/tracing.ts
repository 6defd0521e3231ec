import {
  type Attributes,
  type Context,
  context,
  ProxyTracerProvider,
  propagation,
  type Span,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
} from "@opentelemetry/api";

/** Name of the instrumentation in traces. */
const SCOPE = "claviger";
/** W3C Trace Context: version, trace id, parent id, flags, of which the last bit says that the caller samples. */
const SAMPLED = /^[\da-f]{2}-[\da-f]{32}-[\da-f]{16}-[\da-f][13579bdf]/;

/** Whether a caller's `traceparent` is sampled and an SDK of the operator takes spans here. */
export function isTraced(traceparent: string | null | undefined): boolean {
  return traceparent != null && SAMPLED.test(traceparent) && hasSdk();
}

function hasSdk(): boolean {
  const provider = trace.getTracerProvider();
  return !(provider instanceof ProxyTracerProvider) || provider.getDelegateTracer(SCOPE) !== undefined;
}

/** The `traceparent` of the active span, if it is sampled. */
export function sampledTraceparent(): string | undefined {
  const active = trace.getActiveSpan()?.spanContext();
  if (active === undefined || (active.traceFlags & TraceFlags.SAMPLED) === 0) return undefined;
  return `00-${active.traceId}-${active.spanId}-01`;
}

/** The context that a caller's headers carry. */
export function contextOf(headers: Headers): Context {
  return propagation.extract(context.active(), headers, {
    keys: (carrier) => [...carrier.keys()],
    get: (carrier, key) => carrier.get(key) ?? undefined,
  });
}

export interface SpanOptions {
  readonly name: string;
  /** Names and numbers only: no secret, owner or address. */
  readonly attributes?: Attributes;
  /** Default: the active context. */
  readonly parent?: Context;
  readonly isServer?: boolean;
}

/** Runs `work` in a span, which ends with it. A failure leaves its class on the span, and no message. */
export async function withSpan<Result>(options: SpanOptions, work: (span: Span) => Promise<Result>): Promise<Result> {
  const { name, attributes = {}, parent = context.active(), isServer = false } = options;
  const kind = isServer ? SpanKind.SERVER : SpanKind.INTERNAL;
  const span = trace.getTracer(SCOPE).startSpan(name, { kind, attributes }, parent);
  try {
    return await context.with(trace.setSpan(parent, span), () => work(span));
  } catch (error) {
    if (!isServer) failSpan(span, error instanceof Error ? error.name : "_OTHER");
    throw error;
  } finally {
    span.end();
  }
}

/** Like `withSpan`, inside a span only: work in the background makes none. */
export function withChildSpan<Result>(name: string, work: () => Promise<Result>): Promise<Result> {
  return trace.getActiveSpan() === undefined ? work() : withSpan({ name }, work);
}

/** Says that the work of a span failed, by a type of few values. */
export function failSpan(span: Span, type: string): void {
  span.setAttribute("error.type", type);
  span.setStatus({ code: SpanStatusCode.ERROR });
}
