import type { Bench } from "./harness/bench.ts";
import { compareWith } from "./harness/verify-turns.ts";

export const bench: Bench = {
  id: "verify-one-at-a-time",
  question: "the same with one stream on each of 10 connections",
  reference: "a bare node:http2 exchange with a fixed gRPC reply",
  goal: 0.6,
  run: () =>
    compareWith({
      reference: "bare",
      beside: ["nghttpd", "grpc-go", "grpc-cpp"],
      manner: { connections: 10, streams: 1 },
    }),
};
