import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Metadata, ServerInterceptingCall, type ServerInterceptingCallInterface } from "@grpc/grpc-js";
import { ErrorInfoSchema, RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "#gen/google/rpc/status_pb.js";
import { errorInfo, retryInfo } from "../../wire/errors.ts";
import type { Refusal } from "../../wire/refusal.ts";
import { SECRET_RETIRES } from "../attach/retirement.ts";
import type { Admission } from "../protect/guard.ts";
import { type Principal, retirementOf } from "../protect/principal.ts";
import { type WatchSettings, watchKey } from "../protect/watch-key.ts";
import { setPrincipal } from "./principal.ts";

export interface GuardOptions {
  /** Decides about the call, and removes the key from its metadata. */
  readonly admit: (metadata: Metadata) => Admission | Promise<Admission>;
  /** How the key is watched; undefined for a unary call. */
  readonly watch: WatchSettings | undefined;
}

type Status = Parameters<ServerInterceptingCallInterface["sendStatus"]>[0];

/**
 * The call that the handler gets. It begins once the key is found good, and ends when the key dies. Later messages of the
 * handler are dropped, and it gets the event `cancelled`, as when the client hangs up.
 */
export function guardCall(
  call: ServerInterceptingCallInterface,
  { admit, watch }: GuardOptions,
): ServerInterceptingCall {
  let isOver = false;
  let known: Principal | undefined;
  let watching: { stop(): void } | undefined;

  function end(): void {
    isOver = true;
    watching?.stop();
  }

  function refuse(refusal: Refusal): void {
    end();
    call.sendStatus(statusOf(refusal));
  }

  function enter(admission: Admission, begin: () => void, metadata: Metadata): void {
    if (isOver) return;
    if ("refusal" in admission) {
      refuse(admission.refusal);
      return;
    }
    known = admission.principal;
    setPrincipal(metadata, known);
    if (admission.principal !== undefined && watch !== undefined) {
      const onGood = (principal: Principal) => {
        known = principal;
      };
      watching = watchKey(admission.recheck, watch, { onGood, onDead: refuse });
    }
    begin();
  }

  return new ServerInterceptingCall(call, {
    start: (next) =>
      next({
        onReceiveMetadata(metadata, pass) {
          const admission = admit(metadata);
          const begin = () => pass(metadata);
          if (admission instanceof Promise) {
            // In a separate turn, so that an error of the handler is not caught by this promise.
            void admission.then((decided) => process.nextTick(enter, decided, begin, metadata));
          } else enter(admission, begin, metadata);
        },
        onCancel: end,
      }),
    sendMetadata: (metadata, next) => {
      if (!isOver) next(metadata);
    },
    sendMessage: (message, next) => {
      if (!isOver) next(message);
    },
    sendStatus: (status, next) => {
      if (isOver) return;
      end();
      next(withRetirement(status, known));
    },
  });
}

function statusOf(refusal: Refusal): Status {
  const metadata = new Metadata();
  metadata.set("grpc-status-details-bin", Buffer.from(toStatusDetails(refusal)));
  // Connect's codes have the numbers of gRPC.
  const code: number = refusal.code;
  return { code, details: refusal.message, metadata };
}

/** The refusal as a `google.rpc.Status`, for the trailer `grpc-status-details-bin`. */
function toStatusDetails(refusal: Refusal): Uint8Array {
  const details = [anyPack(ErrorInfoSchema, create(ErrorInfoSchema, errorInfo(refusal)))];
  const retry = retryInfo(refusal);
  if (retry !== undefined) details.push(anyPack(RetryInfoSchema, create(RetryInfoSchema, retry)));
  return toBinary(StatusSchema, create(StatusSchema, { code: refusal.code, message: refusal.message, details }));
}

function withRetirement(status: Status, principal: Principal | undefined): Status {
  const retires = retirementOf(principal);
  if (retires === undefined) return status;
  const metadata = status.metadata?.clone() ?? new Metadata();
  metadata.set(SECRET_RETIRES, retires);
  return { ...status, metadata };
}
