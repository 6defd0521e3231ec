import { execFileSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** A Python that can be a client. */
export interface PythonTool {
  /** The folder with `python3`, to be put first on PATH. */
  readonly folder: string;
}

/** A Go that can be a client. */
export interface GoTool {
  /** The folder of the generators, to be put first on PATH. */
  readonly folder: string;
  /** The folder of `go.mod` and `go.sum` for a module called `example`; its packages are in Go's cache. */
  readonly module: string;
}

/** A Node that is supported. */
export interface NodeTool {
  readonly version: string;
  /** The folder with `node`, to be put first on PATH. */
  readonly folder: string;
}

const ROOT = fileURLToPath(new URL("..", import.meta.url));
/** Where `.ci/bring-tools` puts what it brings. */
const BROUGHT = join(ROOT, "node_modules/.cache/tools");

/** The first Python that has grpcio and grpcio-tools: the one that was brought, then PATH, then the system's own. */
export function findPython(): PythonTool | undefined {
  const candidates = [join(BROUGHT, "python/bin"), ...pathFolders(), "/usr/bin"].map((folder) =>
    join(folder, "python3"),
  );
  const imports = "import grpc, grpc_tools.protoc, google.protobuf";
  const python = candidates.filter(existsSync).find((file) => runs(file, ["-c", imports]));
  return python === undefined ? undefined : { folder: dirname(python) };
}

/** Go with its generators, and the packages of the clients in its cache. Downloads nothing. */
export function findGo(): GoTool | undefined {
  const module = join(ROOT, "test/clients/go");
  const generators = ["protoc-gen-go", "protoc-gen-go-grpc"];
  const folder = [join(BROUGHT, "go"), ...pathFolders()].find((each) =>
    generators.every((tool) => existsSync(join(each, tool))),
  );
  const packages = ["google.golang.org/grpc", "google.golang.org/genproto/googleapis/rpc/errdetails"];
  const offline = { ...process.env, GOPROXY: "off", GOFLAGS: "-mod=readonly" };
  const hasPackages = folder !== undefined && runs("go", ["list", "-deps", ...packages], { cwd: module, env: offline });
  return hasPackages ? { folder, module } : undefined;
}

/** The Nodes that were brought: the oldest and the newest that are supported, and those between. */
export function findNodes(): readonly NodeTool[] | undefined {
  const listed = join(BROUGHT, "nodes");
  if (!existsSync(listed)) return undefined;
  const nodes = readdirSync(listed).map((version) => ({ version, folder: join(listed, version, "bin") }));
  return nodes.length > 0 && nodes.every(({ folder }) => runs(join(folder, "node"), ["--version"])) ? nodes : undefined;
}

/** A test suite of others for HTTP/2, by its program's name: the one that was brought, then PATH. */
export function findHttp2Suite(name: "h2spec" | "connectconformance" | "grpc-interop"): string | undefined {
  return findFile(name, [join(BROUGHT, "http2"), ...pathFolders()]);
}

/** The program of a gateway: the one that was brought, then PATH, then where packages put it. */
export function findGateway(name: "envoy" | "nginx" | "haproxy" | "caddy"): string | undefined {
  return [join(BROUGHT, "envoy"), ...pathFolders(), "/usr/sbin"].map((folder) => join(folder, name)).find(existsSync);
}

/** PgBouncer: PATH first, then where packages put it. */
export function findPgBouncer(): string | undefined {
  return findFile("pgbouncer", [...pathFolders(), "/usr/sbin"]);
}

/** A program on PATH. */
export function findProgram(
  name: "openssl" | "bash" | "zsh" | "fish" | "nghttp" | "curl" | "systemd-analyze",
): string | undefined {
  return findFile(name, pathFolders());
}

/** The loader of Compose files that was brought: Compose's own, under the name that its module gives it. */
export function findCompose(): string | undefined {
  return findFile("cmd", [join(BROUGHT, "compose")]);
}

/** Helm: the one that was brought, then PATH. */
export function findHelm(): string | undefined {
  return findFile("helm", [join(BROUGHT, "kubernetes"), ...pathFolders()]);
}

/** The folder of Kubernetes' strict JSON schemas, a file for each kind of object. */
export function findKubernetesSchemas(): string | undefined {
  return findFile("schemas", [join(BROUGHT, "kubernetes")]);
}

/** The HPACK stories: in `shared/data/hpack` of the closest folder above the repository that has it. */
export function findHpackStories(): string | undefined {
  let folder = ROOT;
  while (dirname(folder) !== folder) {
    folder = dirname(folder);
    const stories = join(folder, "shared/data/hpack");
    if (existsSync(stories)) return stories;
  }
  return undefined;
}

function findFile(name: string, folders: readonly string[]): string | undefined {
  return folders.map((folder) => join(folder, name)).find(existsSync);
}

function pathFolders(): string[] {
  return (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
}

function runs(
  command: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): boolean {
  try {
    execFileSync(command, args, { ...options, stdio: "ignore", timeout: 30_000 });
    return true;
  } catch {
    return false;
  }
}
