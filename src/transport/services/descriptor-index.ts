import { type DescFile, type DescService, toBinary } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";

/** A proto file as reflection hands it out. */
export interface IndexedFile {
  readonly bytes: Uint8Array;
  /** Names of the files that it imports. */
  readonly imports: readonly string[];
}

/** The files of some services and all their imports, found by their contents. File names end in `.proto`. */
export interface DescriptorIndex {
  readonly files: ReadonlyMap<string, IndexedFile>;
  /** Full name of a message, enum, extension, service or method → file name. */
  readonly symbols: ReadonlyMap<string, string>;
  /** Full name of a message → field number of each of its extensions → file name. Every message has an entry. */
  readonly extensions: ReadonlyMap<string, ReadonlyMap<number, string>>;
}

export function createDescriptorIndex(services: readonly DescService[]): DescriptorIndex {
  const files = new Map<string, IndexedFile>();
  const symbols = new Map<string, string>();
  const extensions = new Map<string, Map<number, string>>();

  function extensionsOf(typeName: string): Map<number, string> {
    const known = extensions.get(typeName) ?? new Map<number, string>();
    extensions.set(typeName, known);
    return known;
  }
  function add(file: DescFile): void {
    const { name, dependency } = file.proto;
    if (files.has(name)) return;
    files.set(name, { bytes: toBinary(FileDescriptorProtoSchema, file.proto), imports: dependency });
    for (const type of nestedTypes(file)) {
      symbols.set(type.typeName, name);
      if (type.kind === "message") extensionsOf(type.typeName);
      if (type.kind === "extension") extensionsOf(type.extendee.typeName).set(type.number, name);
      if (type.kind === "service") {
        for (const method of type.methods) symbols.set(`${type.typeName}.${method.name}`, name);
      }
    }
    file.dependencies.forEach(add);
  }
  for (const service of services) add(service.file);
  return { files, symbols, extensions };
}
