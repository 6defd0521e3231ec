import { isPlainMethod } from "../wire/question.ts";
import type { DeclaredAccess } from "./declared-access.ts";

/** Paths of gRPC calls that are in no descriptor set and are counted by their own names. Clients choose them. */
const MOST_GRPC_PATHS = 1000;

const HTTP_METHODS: ReadonlySet<string> = new Set([
  ...["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"],
]);

/** A request to a gateway, as far as its usage method depends on it. */
export interface GatewayRequest {
  readonly method: string;
  /** May have a query, which is not read. */
  readonly path: string;
  readonly isGrpc: boolean;
  /** The name that the gateway's configuration gives. */
  readonly configured?: string | undefined;
}

/** Names requests for usage counts. The number of names is bounded, because clients choose paths and HTTP methods. */
export class UsageMethods {
  readonly #declared: DeclaredAccess;
  readonly #grpcPaths = new Set<string>();

  constructor(declared: DeclaredAccess) {
    this.#declared = declared;
  }

  of({ method, path, isGrpc, configured }: GatewayRequest): string {
    const known = this.#declared.pathOf(path);
    if (known !== undefined) return known;
    if (isGrpc && isPlainMethod(path)) return this.#grpcPath(path);
    if (configured !== undefined && isPlainMethod(configured)) return configured;
    return `/http/${HTTP_METHODS.has(method) ? method : "OTHER"}`;
  }

  #grpcPath(path: string): string {
    if (this.#grpcPaths.has(path)) return path;
    if (this.#grpcPaths.size >= MOST_GRPC_PATHS) return "/grpc/OTHER";
    this.#grpcPaths.add(path);
    return path;
  }
}

export function isGrpcType(contentType: string | undefined): boolean {
  return contentType?.startsWith("application/grpc") === true;
}
