import { create, createFileRegistry, fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, createClient, createRouterTransport } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { KeyVerifier } from "#gen/claviger/v1/key_verifier_pb.js";
import { ServerReflection, type ServerReflectionRequestSchema } from "#gen/grpc/reflection/v1/reflection_pb.js";
import { createReflection } from "./reflection.ts";

type Question = NonNullable<MessageInitShape<typeof ServerReflectionRequestSchema>["messageRequest"]>;

const verifierFile = "claviger/v1/key_verifier.proto";
const transport = createRouterTransport(createReflection({ services: [KeyVerifier] }).routes);

async function ask(...questions: Question[]) {
  async function* requests() {
    for (const messageRequest of questions) yield { host: "here", messageRequest };
  }
  const answers = [];
  for await (const response of createClient(ServerReflection, transport).serverReflectionInfo(requests())) {
    expect(response.originalRequest?.messageRequest.case).toBe(questions[answers.length]?.case);
    answers.push(response.messageResponse);
  }
  return answers;
}

async function filesFor(...questions: Question[]) {
  const answers = await ask(...questions);
  return answers.map((answer) =>
    answer.case === "fileDescriptorResponse"
      ? answer.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes))
      : answer,
  );
}

async function fileNamesFor(...questions: Question[]) {
  return (await filesFor(...questions)).map((files) => (Array.isArray(files) ? files.map((file) => file.name) : files));
}

test("list_services names every service, reflection included", async () => {
  const [answer] = await ask({ case: "listServices", value: "" });
  expect(answer?.value).toMatchObject({
    service: [{ name: "claviger.v1.KeyVerifier" }, { name: "grpc.reflection.v1.ServerReflection" }],
  });
});

test("a file comes with all that it imports, complete enough to build every type from it", async () => {
  const [files] = await filesFor({ case: "fileByFilename", value: verifierFile });
  if (!Array.isArray(files)) throw new Error("no files");
  const known = files;
  expect(known[0]?.name).toBe(verifierFile);
  const importsFirst = new Set<FileDescriptorProto>();
  function add(name: string): void {
    const file = known.find((candidate) => candidate.name === name);
    if (file === undefined) throw new Error(`${name} is missing`);
    file.dependency.forEach(add);
    importsFirst.add(file);
  }
  add(verifierFile);
  const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: [...importsFirst] }));
  expect(registry.getService("claviger.v1.KeyVerifier")?.method.verify?.input.typeName).toBe(
    "claviger.v1.VerifyRequest",
  );
});

test("on one stream an import is sent once, and the file asked for every time", async () => {
  const question: Question = { case: "fileByFilename", value: verifierFile };
  const [first, second] = await fileNamesFor(question, question);
  expect(first).toContain("google/protobuf/timestamp.proto");
  expect(second).toEqual([verifierFile]);
});

test.each([
  ["a service", "claviger.v1.KeyVerifier", verifierFile],
  ["a method", "claviger.v1.KeyVerifier.Verify", verifierFile],
  ["a message", "claviger.v1.VerifyRequest", verifierFile],
  ["a nested message", "grpc.reflection.v1.ServerReflectionRequest", "grpc/reflection/v1/reflection.proto"],
  ["an enum", "claviger.v1.Verdict", verifierFile],
  ["an extension", "buf.validate.field", "buf/validate/validate.proto"],
])("the file of %s is found by its name", async (_, symbol, file) => {
  const [names] = await fileNamesFor({ case: "fileContainingSymbol", value: symbol });
  expect(names).toEqual(expect.arrayContaining([file]));
  expect(Array.isArray(names) && names[0]).toBe(file);
});

test("extensions are found by the type that they extend and their number", async () => {
  const [numbers] = await ask({ case: "allExtensionNumbersOfType", value: "google.protobuf.FieldOptions" });
  if (numbers?.case !== "allExtensionNumbersResponse") throw new Error("no numbers");
  expect(numbers.value.extensionNumber).toContain(1159);
  const [names] = await fileNamesFor({
    case: "fileContainingExtension",
    value: { containingType: "google.protobuf.FieldOptions", extensionNumber: 1159 },
  });
  expect(Array.isArray(names) && names[0]).toBe("buf/validate/validate.proto");
});

test.each<[string, Question, Code]>([
  ["an unknown file", { case: "fileByFilename", value: "nothing.proto" }, Code.NotFound],
  ["an unknown symbol", { case: "fileContainingSymbol", value: "nothing.Nothing" }, Code.NotFound],
  ["an unknown type", { case: "allExtensionNumbersOfType", value: "nothing.Nothing" }, Code.NotFound],
  ["no question", { case: undefined }, Code.InvalidArgument],
])("%s is an error answer, and the stream goes on", async (_, question, errorCode) => {
  const [error, next] = await ask(question, { case: "listServices", value: "" });
  expect(error).toMatchObject({ case: "errorResponse", value: { errorCode } });
  expect(next?.case).toBe("listServicesResponse");
});
