import { Code, ConnectError, type ConnectRouter, type HandlerContext } from "@connectrpc/connect";
import {
  type HealthCheckRequest,
  Health as HealthService,
  HealthCheckResponse_ServingStatus as Status,
} from "#gen/grpc/health/v1/health_pb.js";
import { callOf } from "../../rpc/call.ts";
import { FairShares } from "../../rpc/fair-shares.ts";
import { networkOf } from "../../verify/network-of.ts";
import { explainedError, REASON_HEADER, RETRY_DELAY_MS } from "../../wire/errors.ts";
import { deadlineExceeded } from "../router/router-errors.ts";

export interface HealthOptions {
  /** Full names of the services to answer for, besides `""`, the process. They start as NOT_SERVING. */
  readonly services: readonly string[];
  /**
   * Streams of `Watch` open at once. Beyond it, each address has a fair share: a further stream displaces one of the
   * address with most, which ends as UNAVAILABLE. Default 100: a watcher is a machine, not a user.
   */
  readonly maxWatchers?: number;
  /** The reason for which a service cannot do a part of its work, for `REASON_HEADER`. Default: none. */
  readonly reasonOf?: (service: string) => string | undefined;
}

/** `grpc.health.v1`. The process, `""`, is SERVING until `shutdown`. */
export interface Health {
  routes(router: ConnectRouter): void;
  /** Says whether a service can do its work. Throws on a service that was not named at creation. */
  set(service: string, serving: boolean): void;
  /** Whether a service can do its work; false for all after `shutdown`. */
  isServing(service: string): boolean;
  /** Sets everything to NOT_SERVING for good; watchers get it and their streams end with UNAVAILABLE. */
  shutdown(): void;
}

export function createHealth(options: HealthOptions): Health {
  const { services, maxWatchers = 100, reasonOf = () => undefined } = options;
  const statuses = new Map<string, Status>(services.map((service) => [service, Status.NOT_SERVING]));
  statuses.set("", Status.SERVING);
  const watchers = new FairShares<Watcher>();
  let stopped = false;

  function wakeWatchers(): void {
    for (const watcher of watchers.members()) watcher.wake();
  }

  function makeRoomFor(address: string): void {
    if (watchers.size < maxWatchers) return;
    const displaced = watchers.displacedFor(address);
    if (displaced === undefined) throw tooManyWatchers();
    watchers.delete(displaced);
    displaced.isDisplaced = true;
    displaced.wake();
  }

  async function* watch({ service }: HealthCheckRequest, { signal, values }: HandlerContext) {
    const address = networkOf(callOf(values).caller.address);
    makeRoomFor(address);
    const watcher: Watcher = { wake: () => {}, isDisplaced: false };
    watchers.add(address, watcher);
    // Aborted at the end of every call. Not in a `finally` here: a client that left may leave this suspended for good.
    signal.addEventListener("abort", () => {
      watchers.delete(watcher);
      watcher.wake();
    });
    let told: Status | undefined;
    while (!signal.aborted) {
      if (watcher.isDisplaced) throw tooManyWatchers();
      const status = statuses.get(service) ?? Status.SERVICE_UNKNOWN;
      if (status !== told) {
        told = status;
        yield { status };
      } else if (stopped) {
        throw unavailable("SHUTTING_DOWN", "the server is stopping; watch another one");
      } else {
        await new Promise<void>((resolve) => {
          watcher.wake = resolve;
        });
      }
    }
    // A stream that only ended would be OK to a client that hears it before its own timer.
    if (ConnectError.from(signal.reason).code === Code.DeadlineExceeded) throw deadlineExceeded();
  }

  return {
    routes(router) {
      router.service(HealthService, {
        check({ service }, { responseHeader }) {
          const status = statuses.get(service);
          if (status === undefined) throw unknownService(service);
          const reason = reasonOf(service);
          if (reason !== undefined) responseHeader.set(REASON_HEADER, reason);
          return { status };
        },
        list: () => ({
          statuses: Object.fromEntries([...statuses].map(([service, status]) => [service, { status }])),
        }),
        watch,
      });
    },
    set(service, serving) {
      if (!statuses.has(service)) throw new Error(`health: unknown service "${service}": name it in createHealth`);
      if (stopped) return;
      statuses.set(service, serving ? Status.SERVING : Status.NOT_SERVING);
      wakeWatchers();
    },
    isServing: (service) => statuses.get(service) === Status.SERVING,
    shutdown() {
      stopped = true;
      for (const service of statuses.keys()) statuses.set(service, Status.NOT_SERVING);
      wakeWatchers();
    },
  };
}

interface Watcher {
  wake: () => void;
  isDisplaced: boolean;
}

function tooManyWatchers() {
  return unavailable("OVERLOADED", "too many watchers; retry later, or use Check");
}

function unavailable(reason: string, message: string) {
  return explainedError({ code: Code.Unavailable, reason, message, retryAfterMs: RETRY_DELAY_MS });
}

function unknownService(service: string) {
  return explainedError({
    code: Code.NotFound,
    reason: "SERVICE_UNKNOWN",
    message: `no service "${service}" here; call List for the names`,
    metadata: { service },
  });
}
