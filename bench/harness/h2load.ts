import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { type BenchServer, cpuSeconds } from "./processes.ts";

const run = promisify(execFile);

export interface H2loadOptions {
  readonly server: BenchServer;
  readonly path: string;
  readonly token: string;
  /** The body of all requests: h2load supports one only. */
  readonly body: Buffer;
  readonly requests: number;
  readonly connections: number;
  /** Under way at once on each connection. */
  readonly streams: number;
}

/** Whether nghttp2's load generator is installed. */
export async function hasH2load(): Promise<boolean> {
  return run("h2load", ["--version"]).then(
    () => true,
    () => false,
  );
}

/** Microseconds of the server's CPU that a unary gRPC call of h2load takes. Rejects where one fails as HTTP: it sees no more. */
export async function askByH2load({ server, path, token, body, ...counts }: H2loadOptions): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), "claviger-h2load-"));
  try {
    const file = join(folder, "body");
    await writeFile(file, body);
    const headers = ["content-type: application/grpc+proto", "te: trailers", `authorization: Bearer ${token}`];
    const before = cpuSeconds(server.pid);
    const { stdout } = await run("h2load", [
      ...["-n", String(counts.requests), "-c", String(counts.connections), "-m", String(counts.streams), "-d", file],
      ...headers.flatMap((header) => ["-H", header]),
      server.url + path,
    ]);
    if (!stdout.includes(` ${counts.requests} succeeded,`)) throw new Error(`h2load: not all succeeded\n${stdout}`);
    return ((cpuSeconds(server.pid) - before) / counts.requests) * 1e6;
  } finally {
    await rm(folder, { recursive: true });
  }
}
