import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";

/** A Python that can be a client. */
export interface PythonTool {
  /** The folder with `python3`, to be put first on PATH. */
  readonly folder: string;
}

/** A Go that can be a client. */
export interface GoTool {
  /** A GOPATH (`GO111MODULE=off`) that holds gRPC. Nothing is downloaded. */
  readonly gopath: string;
}

// Where Debian's golang-*-dev packages are.
const GOPATHS = ["/usr/share/gocode"];

/** The first Python that has grpcio and grpcio-tools: PATH first, then the system's own, which pyenv and such hide. */
export function findPython(): PythonTool | undefined {
  if (!runs("protoc", ["--version"])) return undefined;
  const candidates = [...pathFolders(), "/usr/bin"].map((folder) => join(folder, "python3")).filter(existsSync);
  const python = candidates.find((file) => runs(file, ["-c", "import grpc, grpc_tools.protoc, google.protobuf"]));
  return python === undefined ? undefined : { folder: dirname(python) };
}

/** Go with its generators, and a GOPATH with gRPC in it. */
export function findGo(): GoTool | undefined {
  const gopath = GOPATHS.find((folder) => existsSync(join(folder, "src/google.golang.org/grpc")));
  const tools = ["go", "protoc-gen-go", "protoc-gen-go-grpc"];
  return gopath !== undefined && tools.every(isOnPath) ? { gopath } : undefined;
}

/** PgBouncer: PATH first, then where packages put it. */
export function findPgBouncer(): string | undefined {
  return [...pathFolders(), "/usr/sbin"].map((folder) => join(folder, "pgbouncer")).find(existsSync);
}

function pathFolders(): string[] {
  return (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
}

function isOnPath(tool: string): boolean {
  return pathFolders().some((folder) => existsSync(join(folder, tool)));
}

function runs(command: string, args: readonly string[]): boolean {
  try {
    execFileSync(command, args, { stdio: "ignore", timeout: 10_000 });
    return true;
  } catch {
    return false;
  }
}
