import type { Interceptor } from "@connectrpc/connect";
import { sampledTraceparent } from "../../system/tracing.ts";

/** Continues a sampled trace of the service in its calls to a server. */
export const carryTrace: Interceptor = (next) => (request) => {
  const traceparent = sampledTraceparent();
  if (traceparent !== undefined) request.header.set("traceparent", traceparent);
  return next(request);
};
