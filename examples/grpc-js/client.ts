// Calls a protected service from grpc-js, and says why it was refused.
//
//   KEY_FILE=ada.key node grpc-js/client.ts 127.0.0.1:8083
import { attachKey, fromFile } from "@claviger/sdk/grpc-js";
import { credentials, type Interceptor, makeClientConstructor, type ServiceError, status } from "@grpc/grpc-js";
import { agent } from "./agent.ts";
import { errorInfoOf } from "./error-info.ts";

const Agent = makeClientConstructor(agent, "Agent");

/** Calls a method, and says what came of it. */
function say(method: "Ask" | "Teach", request: object, interceptors: Interceptor[]): Promise<void> {
  const client = new Agent(process.argv[2] ?? "127.0.0.1:8083", credentials.createInsecure(), { interceptors });
  return new Promise((resolve) => {
    client[method]?.(request, (error: ServiceError | null, answer?: { answer?: string }) => {
      const info = error === null ? undefined : errorInfoOf(error);
      const refusal = error && [status[error.code], info?.reason, info?.metadata.verdict].filter(Boolean).join(" ");
      console.log(`${method}: ${refusal ?? answer?.answer}`);
      client.close();
      resolve();
    });
  });
}

// When the file is replaced, the next call goes out with the new secret.
const key = attachKey(fromFile(process.env.KEY_FILE ?? "agent.key"));
await say("Ask", { question: "why?" }, [key]);
await say("Teach", { fact: "because" }, [key]);
await say("Ask", { question: "why?" }, []);
