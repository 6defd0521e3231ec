import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdtemp, rm, symlink } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Health, HealthCheckResponse_ServingStatus as Status } from "#gen/grpc/health/v1/health_pb.js";
import { startFakeServer } from "../../testkit/fakes/fake-server.ts";

const BIN = fileURLToPath(new URL("../../bin/claviger.js", import.meta.url));

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "claviger-bin-"));
});
afterAll(() => rm(folder, { recursive: true }));

interface ProcessOptions {
  /** Default the launcher itself. */
  readonly bin?: string;
  readonly environment?: Record<string, string>;
  /** For Node itself. */
  readonly nodeOptions?: readonly string[];
  /** Closes the reading end of its output at once. */
  readonly deaf?: boolean;
}

async function runProcess(
  words: readonly string[],
  { bin = BIN, environment = {}, nodeOptions = [], deaf }: ProcessOptions = {},
) {
  const env = { PATH: process.env.PATH, NO_COLOR: "1", ...environment };
  const child = spawn(process.execPath, [...nodeOptions, bin, ...words], {
    cwd: folder,
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk) => {
    out += chunk;
  });
  child.stderr.on("data", (chunk) => {
    err += chunk;
  });
  if (deaf) child.stdout.destroy();
  const [code] = await once(child, "close");
  return { code, out, err };
}

describe("the launcher", { timeout: 20_000 }, () => {
  it("prints the version, also through a symbolic link as npm makes them", async () => {
    const link = join(folder, "claviger");
    await symlink(BIN, link);
    const direct = await runProcess(["--version"]);
    expect(direct).toMatchObject({ code: 0, err: "" });
    expect(direct.out).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(await runProcess(["--version"], { bin: link })).toEqual(direct);
  });

  it("tells an old Node what to install", async () => {
    const pretend = `data:text/javascript,Object.defineProperty(process,"versions",{value:{node:"18.19.1"}})`;
    // A launcher without a Node of its own beside it.
    const bin = join(folder, "claviger.mjs");
    await copyFile(BIN, bin);
    const { code, out, err } = await runProcess(["--version"], { bin, nodeOptions: ["--import", pretend] });
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toMatch(/needs Node 22\.18 or newer, and this is 18\.19\.1: install a current one/);
  });

  it("exits with 2 for an unknown command, and names the nearest", async () => {
    expect(await runProcess(["veryfy"])).toMatchObject({
      code: 2,
      err: expect.stringContaining("did you mean verify?"),
    });
  });

  it("exits with 4 when no server is reached, and gives a command that starts one from here", async () => {
    const { code, err } = await runProcess(["health"], { environment: { CLAVIGER_URL: "http://127.0.0.1:1" } });
    expect(code).toBe(4);
    expect(err).toContain("bin/claviger.js serve`");
  });

  it("exits with 4, never with 1, when what answers is no Claviger", async () => {
    const other = createServer((socket) => socket.end("220 mail.example ESMTP\r\n"));
    other.listen(0, "127.0.0.1");
    await once(other, "listening");
    const address = other.address();
    const port = typeof address === "object" ? address?.port : undefined;
    const { code, err } = await runProcess(["keys", "list"], {
      environment: { CLAVIGER_URL: `http://127.0.0.1:${port}` },
    });
    other.close();
    expect({ code, err }).toMatchObject({ code: 4, err: expect.stringContaining(`127.0.0.1:${port}`) });
  });

  it("hangs up after its call, and so ends", async () => {
    const server = await startFakeServer((router) =>
      router.service(Health, { check: () => ({ status: Status.SERVING }) }),
    );
    const { code, out } = await runProcess(["health"], { environment: { CLAVIGER_URL: server.url } });
    await server.close();
    expect({ code, out }).toEqual({ code: 0, out: expect.stringContaining("serving") });
  });

  it("has Node find none of Drizzle's modules by reading its package.json for each, as it would by itself", async () => {
    // Hooks of the launcher come first: what they decide is not seen here.
    const count = `import { registerHooks } from "node:module";
      let found = 0;
      registerHooks({ resolve(specifier, context, next) {
        found += specifier.startsWith(".") && /drizzle-orm/.test(context.parentURL ?? "") ? 1 : 0;
        return next(specifier, context);
      } });
      process.on("exit", () => console.log("found", found));`;
    const nodeOptions = ["--import", `data:text/javascript,${encodeURIComponent(count)}`];
    const environment = { DATABASE_URL: "postgres://127.0.0.1:1/none" };
    expect(await runProcess(["migrate"], { nodeOptions, environment })).toMatchObject({ code: 3, out: "found 0\n" });
    const bin = fileURLToPath(new URL("../postgres/schema.ts", import.meta.url));
    expect((await runProcess([], { bin, nodeOptions })).out).toMatch(/found [1-9]\d+/);
  });

  it("has Node find none of the modules of Protobuf and Connect so either", async () => {
    const count = `import { registerHooks } from "node:module";
      let found = 0;
      registerHooks({ resolve(specifier, context, next) {
        found += specifier.startsWith(".") && /@(bufbuild|connectrpc).*esm/.test(context.parentURL ?? "") ? 1 : 0;
        return next(specifier, context);
      } });
      process.on("exit", () => console.log("found", found));`;
    const nodeOptions = ["--import", `data:text/javascript,${encodeURIComponent(count)}`];
    const environment = { CLAVIGER_URL: "http://127.0.0.1:1" };
    expect(await runProcess(["keys", "list"], { nodeOptions, environment })).toMatchObject({
      code: 4,
      out: "found 0\n",
    });
    const bin = fileURLToPath(new URL("./connection.ts", import.meta.url));
    expect((await runProcess([], { bin, nodeOptions })).out).toMatch(/found [1-9]\d+/);
  });

  it("ends quietly when nobody reads its output any more", async () => {
    expect(await runProcess(["--help"], { deaf: true })).toMatchObject({ code: 0, err: "" });
  });
});
