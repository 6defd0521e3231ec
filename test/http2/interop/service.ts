import { setTimeout as sleep } from "node:timers/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Code, HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { explainedError } from "../../../src/wire/errors.ts";
import type {
  EchoStatus,
  StreamingOutputCallRequest,
  StreamingOutputCallResponseSchema,
  TestService,
} from "./gen/grpc/testing/test_pb.js";

const INITIAL = "x-grpc-test-echo-initial";
const TRAILING = "x-grpc-test-echo-trailing-bin";

/** The service that gRPC's interop clients call, by the descriptions of their cases. */
export const interop: ServiceImpl<typeof TestService> = {
  emptyCall: () => ({}),

  unaryCall({ responseSize, responseStatus }, context) {
    echoMetadata(context);
    failIfAsked(responseStatus);
    return { payload: { body: new Uint8Array(responseSize) } };
  },

  async *streamingOutputCall(request) {
    yield* responsesTo(request);
  },

  async streamingInputCall(requests) {
    let aggregatedPayloadSize = 0;
    for await (const { payload } of requests) aggregatedPayloadSize += payload?.body.length ?? 0;
    return { aggregatedPayloadSize };
  },

  async *fullDuplexCall(requests, context) {
    echoMetadata(context);
    for await (const request of requests) {
      failIfAsked(request.responseStatus);
      yield* responsesTo(request);
    }
  },
};

async function* responsesTo({
  responseParameters,
}: StreamingOutputCallRequest): AsyncGenerator<MessageInitShape<typeof StreamingOutputCallResponseSchema>> {
  for (const { size, intervalUs } of responseParameters) {
    if (intervalUs > 0) await sleep(intervalUs / 1000);
    yield { payload: { body: new Uint8Array(size) } };
  }
}

function echoMetadata({ requestHeader, responseHeader, responseTrailer }: HandlerContext): void {
  const initial = requestHeader.get(INITIAL);
  if (initial !== null) responseHeader.set(INITIAL, initial);
  const trailing = requestHeader.get(TRAILING);
  if (trailing !== null) responseTrailer.set(TRAILING, trailing);
}

/** Fails with that status. The ErrorInfo keeps the product from making a message of its own. */
function failIfAsked(status: EchoStatus | undefined): void {
  if (status === undefined || status.code === 0) return;
  throw explainedError({ code: status.code as Code, reason: "INTERNAL", message: status.message });
}
