import type { Interceptor } from "@connectrpc/connect";
import type { Logger } from "pino";
import { callOf } from "./call.ts";
import type { CallLog } from "./call-log.ts";
import type { DenialRecorder, RefusedCall } from "./denials.ts";
import { presentError } from "./errors.ts";

export interface CallInterceptorOptions {
  readonly log: Logger;
  readonly callLog: CallLog;
  readonly recordDenial: DenialRecorder;
}

/** Outermost of the interceptors: each call leaves a line in the log, and each error leaves in its wire form. */
export function createCallInterceptor(options: CallInterceptorOptions): Interceptor {
  const { log, callLog, recordDenial } = options;
  return (next) => async (request) => {
    const call = callOf(request.contextValues);
    const method = `${request.service.typeName}/${request.method.name}`;
    const refuse = (error: unknown) => {
      const refusal = presentError(error, log, call.requestId);
      callLog.refused(method, call, refusal);
      return refusal;
    };
    try {
      const response = await next(request);
      if (response.stream) {
        const onEnd = () => callLog.answered(method, call, undefined);
        return { ...response, message: watched(response.message, { onEnd, refuse }) };
      }
      callLog.answered(method, call, response.message);
      return response;
    } catch (error) {
      const about = request.stream ? {} : subjectOf(request.message);
      await recordDenial({ caller: call.caller, method, error, about });
      throw refuse(error);
    }
  };
}

/** A stream has its line once it is over, however that comes. */
async function* watched<Message>(
  messages: AsyncIterable<Message>,
  { onEnd, refuse }: { readonly onEnd: () => void; readonly refuse: (error: unknown) => Error },
): AsyncGenerator<Message> {
  try {
    yield* messages;
  } catch (error) {
    throw refuse(error);
  } finally {
    onEnd();
  }
}

/** Denials come after the rules of the request were met, so what is read here has its form. */
function subjectOf(message: object): RefusedCall["about"] {
  const keyId = "keyId" in message ? message.keyId : "key" in message ? idOf(message.key) : undefined;
  const owner = "owner" in message ? message.owner : undefined;
  return { ...(typeof keyId === "string" ? { keyId } : {}), ...(typeof owner === "string" ? { owner } : {}) };
}

function idOf(key: unknown): unknown {
  return typeof key === "object" && key !== null && "id" in key ? key.id : undefined;
}
