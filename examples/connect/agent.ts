// An agent that serves others, and asks another itself: two of them call each other, each with a key of its own.
//
//   LISTEN=8081 PEER=http://127.0.0.1:8082 KEY_FILE=ada.key node connect/agent.ts
//   LISTEN=8082 PEER=http://127.0.0.1:8081 KEY_FILE=bob.key node connect/agent.ts
//
// CLAVIGER_URL and CLAVIGER_TOKEN say where Claviger is, and with which key (`claviger:verify`) keys are verified.
import { createServer } from "node:http2";
import { createVerifier } from "@claviger/sdk";
import { attachKey, fromFile, peerValues, principalOf, requireKey } from "@claviger/sdk/connect";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { connectNodeAdapter, createGrpcTransport } from "@connectrpc/connect-node";
import { Agent } from "../gen/example/v1/agent_pb.ts";

const { LISTEN = "8081", PEER = "http://127.0.0.1:8082", KEY_FILE = "agent.key" } = process.env;

const verifier = createVerifier({ onBroken: (error) => console.warn("the stream to Claviger broke:", error) });

// This agent's own key, for whom it calls. When the file is replaced, the next call goes out with the new secret.
const interceptors = [attachKey(fromFile(KEY_FILE))];
const peer = createClient(Agent, createGrpcTransport({ baseUrl: PEER, interceptors }));

const adapter = connectNodeAdapter({
  // The scopes that callers need stand in the proto.
  interceptors: [requireKey(verifier)],
  contextValues: (request) => peerValues(request),
  routes: (router) =>
    router.service(Agent, {
      async ask({ question, hops }, context) {
        const { owner } = principalOf(context).key;
        if (hops === 0) return { answer: `${owner} asks: ${question}` };
        const { answer } = await peer.ask({ question, hops: hops - 1 }, { signal: context.signal }).catch(notAsked);
        return { answer: `${owner} asks, and ${answer}` };
      },
      teach: () => ({}),
    }),
});

// As an error of this agent's own: that its key was refused says nothing of its caller's.
function notAsked(cause: unknown): never {
  throw new ConnectError("the other agent could not be asked", Code.FailedPrecondition, undefined, undefined, cause);
}

const server = createServer(adapter).listen(Number(LISTEN), "127.0.0.1", () => console.log("listening"));

process.once("SIGTERM", async () => {
  server.close();
  // Otherwise revocations wait until its lease is over, and the last counts are lost.
  await verifier.close();
  process.exit();
});
