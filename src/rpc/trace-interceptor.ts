import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { KeyManagement } from "#gen/claviger/v1/key_management_pb.js";
import { KeyVerifier } from "#gen/claviger/v1/key_verifier_pb.js";
import { ClavigerError } from "../keys/errors.ts";
import { contextOf, failSpan, isTraced, type SpanOptions, withSpan } from "../system/tracing.ts";
import { codeName } from "./call-log.ts";
import { toConnectError } from "./errors.ts";

/** The codes that are failures of a server, by the conventions: https://opentelemetry.io/docs/specs/semconv/rpc/grpc/ */
const FAILURES: ReadonlySet<Code> = new Set([
  ...[Code.Unknown, Code.DeadlineExceeded, Code.Unimplemented, Code.Internal, Code.Unavailable, Code.DataLoss],
]);

/** A span for each management call, and for a verification whose caller samples it. */
export const traceInterceptor: Interceptor = (next) => async (request) => {
  const { typeName } = request.service;
  const isSampled = typeName === KeyVerifier.typeName && isTraced(request.header.get("traceparent"));
  if (request.stream || !(isSampled || typeName === KeyManagement.typeName)) return next(request);
  const name = `${typeName}/${request.method.name}`;
  const isGrpc = request.header.get("content-type")?.startsWith("application/grpc") === true;
  const attributes = { "rpc.system.name": isGrpc ? "grpc" : "connectrpc", "rpc.method": name };
  return traceCall({ name, attributes, parent: contextOf(request.header) }, () => next(request));
};

/** A question on a stream of `Sync`, which an agent asks for a call that is sampled. */
export function traceAsk<Result>(traceparent: string, work: () => Promise<Result>): Promise<Result> {
  const name = `${KeyVerifier.typeName}/${KeyVerifier.method.sync.name}`;
  const attributes = { "rpc.system.name": "grpc", "rpc.method": name };
  return traceCall({ name, attributes, parent: contextOf(new Headers({ traceparent })) }, work);
}

function traceCall<Result>(options: SpanOptions, work: () => Promise<Result>): Promise<Result> {
  return withSpan({ ...options, isServer: true }, async (span) => {
    try {
      const result = await work();
      span.setAttribute("rpc.response.status_code", "OK");
      return result;
    } catch (error) {
      const { code } = error instanceof ClavigerError ? toConnectError(error) : ConnectError.from(error);
      span.setAttribute("rpc.response.status_code", codeName(code));
      if (FAILURES.has(code)) failSpan(span, codeName(code));
      throw error;
    }
  });
}
