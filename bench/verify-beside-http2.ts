import type { Bench } from "./harness/bench.ts";
import { compareWith } from "./harness/verify-turns.ts";

export const bench: Bench = {
  id: "verify-beside-http2",
  question:
    "server CPU of a warm unary gRPC Verify among 100,000 keys, with everything on; 32 streams on 4 connections",
  reference: "a bare node:http2 exchange with a fixed gRPC reply",
  goal: 0.4,
  run: () => compareWith({ reference: "bare", beside: ["sketch", "nghttpd"] }),
};
