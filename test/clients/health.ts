import { createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import {
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatusSchema,
  Health as HealthService,
} from "#gen/grpc/health/v1/health_pb.js";

/** `grpc.health.v1` of one server. */
export interface HealthClient {
  /** `SERVING`, `NOT_SERVING` */
  check(service: string): Promise<string>;
  /** Every status that a watcher is told, then what ended the stream. */
  watch(service: string): Promise<string[]>;
  close(): void;
}

export function createHealthClient(url: string): HealthClient {
  const sessionManager = new Http2SessionManager(url);
  const health = createClient(HealthService, createGrpcTransport({ baseUrl: url, sessionManager }));
  return {
    check: async (service) => nameOf(await health.check({ service })),
    watch: async (service) => {
      const told: string[] = [];
      try {
        for await (const response of health.watch({ service })) told.push(nameOf(response));
        return [...told, "ended"];
      } catch (error) {
        return [...told, String(error)];
      }
    },
    close: () => sessionManager.abort(),
  };
}

function nameOf({ status }: HealthCheckResponse): string {
  return HealthCheckResponse_ServingStatusSchema.value[status]?.name ?? String(status);
}
