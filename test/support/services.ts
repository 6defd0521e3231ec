import type { GoTool, PythonTool } from "./find-tools.ts";

/** What each outside service or tool needs on a machine which has none, as the end of a sentence. */
export const INSTALL_HINT = {
  postgres: "install PostgreSQL (apt-get install postgresql, brew install postgresql) or set TEST_DATABASE_URL",
  redis: "install Redis (apt-get install redis-server, brew install redis) or set TEST_REDIS_URL",
  pgbouncer: "install PgBouncer (apt-get install pgbouncer, brew install pgbouncer)",
  python: "install Python with gRPC (apt-get install python3-grpcio python3-grpc-tools protobuf-compiler)",
  go: "install Go with gRPC (apt-get install golang golang-google-grpc-dev golang-github-golang-protobuf-1-5-dev protoc-gen-go-1-5 protoc-gen-go-grpc)",
} as const;

/** A service or tool that tests can use when the machine has it. */
export type Service = keyof typeof INSTALL_HINT;

export function isService(name: string): name is Service {
  return Object.hasOwn(INSTALL_HINT, name);
}

declare module "vitest" {
  interface TaskMeta {
    /** Set on a suite that was left out because this service is not to be had. */
    notRunWithout?: Service;
  }
  interface ProvidedContext {
    /** The shared Postgres, or `undefined` where none is to be had. */
    postgres: { readonly adminUrl: string; readonly template: string } | undefined;
    /** The folder of a migrated embedded database, to be copied. */
    embedded: { readonly template: string };
    /** The shared Redis, or `undefined` where none is to be had. */
    redis: { readonly url: string } | undefined;
    /** The program `pgbouncer`, or `undefined`. */
    pgbouncer: string | undefined;
    /** A Python with gRPC and `protoc`, or `undefined`. */
    python: PythonTool | undefined;
    /** A Go with gRPC and the generators, or `undefined`. */
    go: GoTool | undefined;
  }
}
