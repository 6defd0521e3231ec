import type { Bench } from "./harness/bench.ts";
import { compareWith } from "./harness/verify-turns.ts";

export const bench: Bench = {
  id: "verify-beside-connect",
  question: "server CPU of a warm unary gRPC Verify among 100,000 keys, with everything on",
  reference: "an empty connect-node gRPC handler",
  goal: 1 / 6,
  run: () => compareWith({ reference: "connect" }),
};
