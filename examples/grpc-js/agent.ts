// The proto as grpc-js takes it: nothing is generated.
import type { ServiceDefinition, UntypedServiceImplementation } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const includeDirs = ["proto", "node_modules/@claviger/sdk/proto"];
const definitions = loadSync("example/v1/agent.proto", { includeDirs });

export const agent = definitions["example.v1.Agent"] as ServiceDefinition<UntypedServiceImplementation>;
