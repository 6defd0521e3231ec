// A service on grpc-js that requires keys.
//
//   LISTEN=8083 node grpc-js/service.ts
//
// CLAVIGER_URL and CLAVIGER_TOKEN say where Claviger is, and with which key (`claviger:verify`) keys are verified.
import { createVerifier } from "@claviger/sdk";
import { principalOf, requireKey } from "@claviger/sdk/grpc-js";
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from "@grpc/grpc-js";
import { agent } from "./agent.ts";

const verifier = createVerifier();

// The scopes that callers need stand in the proto.
const server = new Server({ interceptors: [requireKey(verifier, { services: [agent] })] });
server.addService(agent, {
  Ask(call: ServerUnaryCall<{ question: string }, { answer: string }>, done: sendUnaryData<{ answer: string }>) {
    done(null, { answer: `${principalOf(call).key.owner} asks: ${call.request.question}` });
  },
  Teach(_: ServerUnaryCall<{ fact: string }, object>, done: sendUnaryData<object>) {
    done(null, {});
  },
});
server.bindAsync(`127.0.0.1:${process.env.LISTEN ?? 8083}`, ServerCredentials.createInsecure(), (error) => {
  if (error !== null) throw error;
  console.log("listening");
});

process.once("SIGTERM", async () => {
  server.forceShutdown();
  // Otherwise revocations wait until its lease is over, and the last counts are lost.
  await verifier.close();
  process.exit();
});
