import type { Bench } from "./harness/bench.ts";
import { compareWith } from "./harness/verify-turns.ts";

export const bench: Bench = {
  id: "verify-beside-grpc-go",
  question: "server CPU of a warm unary gRPC Verify among 100,000 keys, with everything on",
  reference: "an empty grpc-go server; an empty gRPC C++ server beside",
  goal: 1,
  run: () => compareWith({ reference: "grpc-go", beside: ["grpc-cpp"] }),
};
