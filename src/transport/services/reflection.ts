import type { DescService } from "@bufbuild/protobuf";
import { Code, type ConnectRouter } from "@connectrpc/connect";
import { ServerReflection, type ServerReflectionRequest } from "#gen/grpc/reflection/v1/reflection_pb.js";
import { createDescriptorIndex, type DescriptorIndex } from "./descriptor-index.ts";

export interface ReflectionOptions {
  /** The services to tell of. Reflection adds itself. */
  readonly services: readonly DescService[];
}

/** gRPC server reflection v1, answering as grpc-go does: a file comes with its imports, each once. */
export function createReflection(options: ReflectionOptions): { routes(router: ConnectRouter): void } {
  const services = [...options.services, ServerReflection];
  const names = services.map((service) => ({ name: service.typeName })).sort((a, b) => (a.name < b.name ? -1 : 1));
  const index = createDescriptorIndex(services);

  async function* serve(requests: AsyncIterable<ServerReflectionRequest>) {
    const sent = new Set<string>();
    for await (const request of requests) {
      const messageResponse = answer(request.messageRequest, { index, names, sent });
      yield { validHost: request.host, originalRequest: request, messageResponse };
    }
  }

  return {
    routes(router) {
      router.rpc(ServerReflection.method.serverReflectionInfo, serve);
    },
  };
}

interface ReflectionState {
  readonly index: DescriptorIndex;
  readonly names: readonly { readonly name: string }[];
  /** The files that this stream has been given. */
  readonly sent: Set<string>;
}

type Question = ServerReflectionRequest["messageRequest"];

function answer(question: Question, { index, names, sent }: ReflectionState) {
  switch (question.case) {
    case "listServices":
      return { case: "listServicesResponse" as const, value: { service: [...names] } };
    case "fileByFilename":
      return fileAnswer(question.value);
    case "fileContainingSymbol":
      return fileAnswer(index.symbols.get(question.value));
    case "fileContainingExtension": {
      const { containingType, extensionNumber } = question.value;
      return fileAnswer(index.extensions.get(containingType)?.get(extensionNumber));
    }
    case "allExtensionNumbersOfType": {
      const numbers = index.extensions.get(question.value);
      if (numbers === undefined) return notFound();
      const value = { baseTypeName: question.value, extensionNumber: [...numbers.keys()] };
      return { case: "allExtensionNumbersResponse" as const, value };
    }
    default:
      return errorAnswer(Code.InvalidArgument, "no question; set one of the fields of message_request");
  }

  function fileAnswer(name: string | undefined) {
    if (name === undefined || !index.files.has(name)) return notFound();
    return {
      case: "fileDescriptorResponse" as const,
      value: { fileDescriptorProto: withImports(name, { index, sent }) },
    };
  }
}

/** The file, always, and those of its imports, to any depth, that the stream has not been given. */
function withImports(name: string, { index, sent }: Pick<ReflectionState, "index" | "sent">): Uint8Array[] {
  const wanted = new Set([name]);
  const bytes: Uint8Array[] = [];
  // A Set may grow while it is walked.
  for (const next of wanted) {
    const file = index.files.get(next);
    if (file === undefined) continue;
    if (next === name || !sent.has(next)) bytes.push(file.bytes);
    sent.add(next);
    for (const imported of file.imports) wanted.add(imported);
  }
  return bytes;
}

function notFound() {
  return errorAnswer(Code.NotFound, "not found; list_services names the services");
}

function errorAnswer(errorCode: Code, errorMessage: string) {
  return { case: "errorResponse" as const, value: { errorCode, errorMessage } };
}
