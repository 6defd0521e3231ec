import type { AnyDesc } from "@bufbuild/protobuf";
import type { ServiceDefinition } from "@grpc/grpc-js";
import { accessByPath, type MethodAccess } from "../../wire/access.ts";
import { SCOPES } from "../verifier/check-options.ts";

/** A service that declares the requirements of its methods: a descriptor of protobuf-es, or a service of proto-loader. */
export type DeclaringService = AnyDesc | ServiceDefinition;

/**
 * The requirements of methods, by path.
 *
 * @throws Error for a service without its options, such as code of protoc's plugin for grpc-js, and for an unclear
 * `(claviger.v1.access)`: ignoring it would let every caller in
 */
export function declaredAccess(services: Iterable<DeclaringService>): ReadonlyMap<string, MethodAccess> {
  const access = new Map<string, MethodAccess>();
  for (const service of services) {
    if (typeof service !== "object" || service === null || Array.isArray(service)) {
      throw new TypeError("requireKey: services has an item that is not a service. Pass an array of services");
    }
    const entries = isDescriptor(service) ? accessByPath([service]) : accessOfDefinition(service);
    for (const [path, asked] of entries) access.set(path, asked);
  }
  return access;
}

function isDescriptor(service: DeclaringService): service is AnyDesc {
  return typeof service.kind === "string";
}

function accessOfDefinition(service: ServiceDefinition): [path: string, access: MethodAccess][] {
  return Object.values(service).map((method) => {
    const { path } = method;
    if (!("options" in method) || typeof method.options !== "object" || method.options === null)
      throw new Error(
        `the options of ${path} are missing. Pass its descriptor, or set scopes and anonymous as functions`,
      );
    return [path, readOption(path, method.options)];
  });
}

/** proto-loader keeps options under their written names, and parses those that are written in braces. */
function readOption(path: string, options: object): MethodAccess {
  const written = Object.entries(options).filter(([name]) => /^\(\.?claviger\.v1\.access\)/.test(name));
  const [entry, ...others] = written;
  if (entry === undefined) return { scopes: [], anonymous: false };
  const [name, value] = entry;
  if (others.length > 0 || !name.endsWith(")") || typeof value !== "object" || value === null) throw unclear(path);
  const { scopes = [], anonymous = false, ...unknown } = value;
  const list = typeof scopes === "string" ? [scopes] : scopes;
  const isClear =
    SCOPES.holds(list) &&
    typeof anonymous === "boolean" &&
    Object.keys(unknown).length === 0 &&
    !(anonymous && list.length > 0);
  if (!isClear) throw unclear(path);
  return { scopes: list, anonymous };
}

function unclear(path: string): Error {
  return new Error(
    `(claviger.v1.access) of ${path} is not clear. Write it once, as { scopes: ["…"] } or { anonymous: true }`,
  );
}
