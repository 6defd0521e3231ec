import type { Bench } from "./harness/bench.ts";
import { compareWith } from "./harness/verify-turns.ts";

export const bench: Bench = {
  id: "verify-beside-grpc-js",
  question: "server CPU of a warm unary gRPC Verify among 100,000 keys, with everything on",
  reference: "an empty @grpc/grpc-js server",
  goal: 1 / 1.3,
  run: () => compareWith({ reference: "grpc-js" }),
};
