import { create, createFileRegistry, type MessageInitShape } from "@bufbuild/protobuf";
import type { GenService } from "@bufbuild/protobuf/codegenv2";
import {
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  file_google_protobuf_wrappers,
  type MethodDescriptorProtoSchema,
  type StringValueSchema,
} from "@bufbuild/protobuf/wkt";

type Kind<MethodKind extends "unary" | "server_streaming" | "client_streaming" | "bidi_streaming"> = {
  methodKind: MethodKind;
  input: typeof StringValueSchema;
  output: typeof StringValueSchema;
};

type EchoService = GenService<{
  unary: Kind<"unary">;
  serverStream: Kind<"server_streaming">;
  clientStream: Kind<"client_streaming">;
  bidi: Kind<"bidi_streaming">;
}>;

/** A method of each kind, from text to text; described here because the contract has not all four kinds. */
export const Echo = describeEcho();

function describeEcho(): EchoService {
  const file = create(FileDescriptorProtoSchema, {
    name: "echo.proto",
    package: "test",
    syntax: "proto3",
    dependency: ["google/protobuf/wrappers.proto"],
    service: [
      {
        name: "Echo",
        method: [
          method("Unary", {}),
          method("ServerStream", { serverStreaming: true }),
          method("ClientStream", { clientStreaming: true }),
          method("Bidi", { clientStreaming: true, serverStreaming: true }),
        ],
      },
    ],
  });
  const set = create(FileDescriptorSetSchema, { file: [file_google_protobuf_wrappers.proto, file] });
  const service = createFileRegistry(set).getService("test.Echo");
  if (service === undefined) throw new Error("the description of the service is wrong; mend it");
  return service as EchoService;
}

function method(name: string, streams: MessageInitShape<typeof MethodDescriptorProtoSchema>) {
  return { name, inputType: ".google.protobuf.StringValue", outputType: ".google.protobuf.StringValue", ...streams };
}
