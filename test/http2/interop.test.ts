import { createConnectRouter } from "@connectrpc/connect";
import { expect, inject, it } from "vitest";
import { createConnectHandler } from "../../src/transport/router/connect-adapter.ts";
import { deadlineInterceptor } from "../../src/transport/router/deadline.ts";
import { streamErrorInterceptor } from "../../src/transport/router/router-errors.ts";
import { describeWithInterop } from "../../testkit/describe-with.ts";
import { runProgram } from "../../testkit/run-program.ts";
import { TestService } from "./interop/gen/grpc/testing/test_pb.js";
import { interop } from "./interop/service.ts";
import { servePort } from "./serve-port.ts";

/**
 * The cases of grpc-go's client that a server of ours has an equivalent for. Left out: those for credentials of Google
 * and ALTS (`*_creds`, `*_credentials`, `*_auth_token`), which need Google's servers; `orca_*`, as the server reports
 * no load; `pick_first_unary`, which tests the client's choice among several servers. The compressed and cacheable
 * cases of the descriptions are not in grpc-go.
 */
const CASES = [
  "empty_unary",
  "large_unary",
  "client_streaming",
  "server_streaming",
  "ping_pong",
  "empty_stream",
  "timeout_on_sleeping_server",
  "cancel_after_begin",
  "cancel_after_first_response",
  "status_code_and_message",
  "special_status_message",
  "custom_metadata",
  "unimplemented_method",
  "unimplemented_service",
  "rpc_soak",
  "channel_soak",
] as const;

const DEADLINE_MS = 60_000;

describeWithInterop("gRPC's interop client", () => {
  it.each(CASES)("passes %s", async (name) => {
    const router = createConnectRouter({ interceptors: [deadlineInterceptor, streamErrorInterceptor] });
    router.service(TestService, interop);
    const errors: unknown[] = [];
    const { port } = await servePort(
      createConnectHandler({
        router,
        defaultDeadlineMs: DEADLINE_MS,
        maxDeadlineMs: DEADLINE_MS,
        onError: (error) => errors.push(error),
      }),
    );
    const env = { ADDRESS: `127.0.0.1:${port}` };
    const { code, stderr } = await runProgram(inject("interop") ?? "", [name], { env });
    expect(code, stderr).toBe(0);
    expect(errors).toEqual([]);
  });
});
