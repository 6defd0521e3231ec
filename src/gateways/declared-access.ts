import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { accessByPath, type MethodAccess } from "../wire/access.ts";

/** The requirements that services declare in their protos by `option (claviger.v1.access)`. */
export class DeclaredAccess {
  readonly #byPath: ReadonlyMap<string, MethodAccess>;

  constructor(byPath: ReadonlyMap<string, MethodAccess> = new Map()) {
    this.#byPath = byPath;
  }

  of(path: string): MethodAccess | undefined {
    const known = this.pathOf(path);
    return known === undefined ? undefined : this.#byPath.get(known);
  }

  /**
   * The declared `/package.Service/Method` that a request target leads to. A server may read `/a/../p.S/M`, `//p.S/M` or
   * `/p.S/%4d` as that method, so other spellings have the same requirements.
   */
  pathOf(target: string): string | undefined {
    if (this.#byPath.size === 0) return undefined;
    if (this.#byPath.has(target)) return target;
    const path = target.replace(/[?#].*$/s, "");
    if (this.#byPath.has(path)) return path;
    const plain = plainPath(path);
    return this.#byPath.has(plain) ? plain : undefined;
  }
}

/**
 * Reads descriptor sets, the output of `buf build -o services.binpb`.
 *
 * @throws Error for bytes that are not a descriptor set, and for a wrong option
 */
export function readDeclaredAccess(sets: readonly Uint8Array[]): DeclaredAccess {
  const entries = sets.flatMap((bytes) => {
    const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, bytes));
    return [...accessByPath(registry)];
  });
  return new DeclaredAccess(new Map(entries));
}

function plainPath(path: string): string {
  const parts: string[] = [];
  for (const part of decoded(path).split(/[/\\]+/)) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}
