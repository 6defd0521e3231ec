import { type AnyDesc, type DescMethod, type DescService, getOption } from "@bufbuild/protobuf";
import { access } from "#gen/claviger/v1/options_pb.js";
import { SCOPES } from "../verifier/check-options.ts";

/** What a method asks of its callers; the message `claviger.v1.Access`. */
export interface MethodAccess {
  /** Scopes that the key must hold, all of them. */
  readonly scopes: readonly string[];
  /** Whether it can be called without a key. A key that comes all the same must be good. */
  readonly anonymous: boolean;
}

/** What is asked where nothing else is said: any good key. */
export const ANY_KEY: MethodAccess = { scopes: [], anonymous: false };

/**
 * Reads `option (claviger.v1.access)` of a method; `ANY_KEY` if it has none.
 *
 * @throws Error if the method asks for scopes and is anonymous, since only one can be meant; and for a scope that is none
 */
export function accessOf(method: DescMethod): MethodAccess {
  const { scopes, anonymous } = getOption(method, access);
  if (anonymous && scopes.length > 0)
    throw new Error(`${pathOf(method)} is anonymous and asks for scopes. Leave one out of its (claviger.v1.access)`);
  if (!SCOPES.holds(scopes)) throw new Error(`${pathOf(method)} asks for a wrong scope. Write ${SCOPES.right}`);
  return { scopes, anonymous };
}

/** What a method asks and how it is called, each worked out once: reading an option takes 5 to 10 µs. */
export function createMethodReader(): (method: DescMethod) => { readonly path: string; access(): MethodAccess } {
  const known = new WeakMap<DescMethod, { readonly path: string; access(): MethodAccess }>();
  return (method) => {
    const read = known.get(method);
    if (read !== undefined) return read;
    let access: MethodAccess | undefined;
    const reader = {
      path: pathOf(method),
      access: () => {
        access ??= accessOf(method);
        return access;
      },
    };
    known.set(method, reader);
    return reader;
  };
}

/** `/package.Service/Method`. */
export function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/**
 * What the methods of all services in `descriptors` ask, by path. Services from generated code, or a whole registry.
 *
 * @throws Error as `accessOf`
 */
export function accessByPath(descriptors: Iterable<AnyDesc>): ReadonlyMap<string, MethodAccess> {
  const methods = [...descriptors].filter(isService).flatMap((service) => service.methods);
  return new Map(methods.map((method) => [pathOf(method), accessOf(method)]));
}

function isService(descriptor: AnyDesc): descriptor is DescService {
  return descriptor.kind === "service";
}
