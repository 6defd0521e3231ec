import { execFile, execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { freePort } from "../../testkit/free-port.ts";
import { type BenchServer, startCommand, startProcess } from "./processes.ts";
import { PROFILED } from "./profile.ts";

const run = promisify(execFile);
const SCRIPT = fileURLToPath(new URL("./reference-server.ts", import.meta.url));
const SOURCES = fileURLToPath(new URL("../references/", import.meta.url));
const BUILT = fileURLToPath(new URL("../../node_modules/.cache/bench/", import.meta.url));

/** Servers that answer every unary gRPC call with next to nothing. */
export type Reference = "bare" | "sketch" | "connect" | "grpc-js" | "grpc-go" | "grpc-cpp" | "nghttpd";

/** Programs without Node, which cannot be profiled. */
const FOREIGN: Readonly<Partial<Record<Reference, () => Promise<BenchServer>>>> = {
  async "grpc-go"() {
    const file = join(BUILT, "grpc-go");
    await run("go", ["build", "-o", file, "."], { cwd: join(SOURCES, "grpc-go") });
    return startCommand(file, []);
  },
  async "grpc-cpp"() {
    const file = join(BUILT, "grpc-cpp");
    const flags = execFileSync("pkg-config", ["--cflags", "--libs", "grpc++"], { encoding: "utf8" }).split(/\s+/);
    const source = join(SOURCES, "grpc-cpp/server.cc");
    await run("g++", ["-O2", "-std=c++17", "-o", file, source, ...flags.filter((flag) => flag !== "")]);
    return startCommand(file, []);
  },
  /** Serves a file of five bytes, an empty message, without trailers. */
  async nghttpd() {
    const folder = mkdtempSync(join(tmpdir(), "claviger-nghttpd-"));
    const file = join(folder, "claviger.v1.KeyVerifier/Verify");
    mkdirSync(dirname(file));
    writeFileSync(file, Buffer.alloc(5));
    const port = await freePort();
    const args = ["--no-tls", "-a", "127.0.0.1", "-d", folder, String(port)];
    return startCommand("nghttpd", args, {}, `http://127.0.0.1:${port}`);
  },
};

export function canBeProfiled(name: string): boolean {
  return !(name in FOREIGN);
}

/** The references that can be built and started here; for the others, why not. */
export async function startReferences(names: readonly Reference[]) {
  mkdirSync(BUILT, { recursive: true });
  const servers = new Map<Reference, BenchServer>();
  const missing: Record<string, string> = {};
  for (const name of names) {
    const start = FOREIGN[name] ?? (() => startProcess(SCRIPT, [name], PROFILED));
    await start().then(
      (server) => servers.set(name, server),
      (error: unknown) => {
        missing[name] = String(error).slice(0, 200);
      },
    );
  }
  return { servers, missing };
}
