import { type AnyDesc, type DescMethod, type DescService, getOption } from "@bufbuild/protobuf";
import { access } from "#gen/claviger/v1/options_pb.js";
import { areRequiredScopes, REQUIRED_SCOPES } from "./question.ts";

/** The requirements of a method; the message `claviger.v1.Access`. */
export interface MethodAccess {
  /** The key must hold all of these scopes. */
  readonly scopes: readonly string[];
  /** Whether it can be called without a key. A key that is sent must still be good. */
  readonly anonymous: boolean;
}

/** The default: any good key. */
export const ANY_KEY: MethodAccess = { scopes: [], anonymous: false };

/**
 * Reads `option (claviger.v1.access)` of a method; `ANY_KEY` if it has none.
 *
 * @throws Error if the method is anonymous and requires scopes, because only one can be meant; and for a wrong scope
 */
export function accessOf(method: DescMethod): MethodAccess {
  const { scopes, anonymous } = getOption(method, access);
  if (anonymous && scopes.length > 0)
    throw new Error(
      `${pathOf(method)} is anonymous and requires scopes. Remove one of the two from its (claviger.v1.access)`,
    );
  if (!areRequiredScopes(scopes)) throw new Error(`${pathOf(method)} requires a wrong scope. Write ${REQUIRED_SCOPES}`);
  return { scopes, anonymous };
}

/** Reads the requirements and the path of methods, once for each method, because reading an option is slow. */
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
 * The requirements of all methods of the services in `descriptors`, by path. Accepts services from generated code, or a
 * whole registry.
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
