import { chmod, mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { KeyManagement } from "#gen/claviger/v1/key_management_pb.js";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { type FakeServer, startFakeServer } from "../../../testkit/fakes/fake-server.ts";
import { runInFakeShell } from "../../../testkit/fakes/fake-shell.ts";

const GOOD = "clv_live_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM";

let folder: string;
let server: FakeServer;
let other: FakeServer;
let seen: (string | null)[];

function routes(router: ConnectRouter) {
  router.service(KeyManagement, {
    listKeys: (_, { requestHeader }) => {
      const authorization = requestHeader.get("authorization");
      seen.push(authorization);
      if (authorization === `Bearer ${GOOD}` || authorization === null) return {};
      const value = { reason: "CREDENTIAL_INVALID", domain: "claviger" };
      throw new ConnectError("the credential is not valid", Code.Unauthenticated, undefined, [
        { desc: ErrorInfoSchema, value },
      ]);
    },
  });
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "claviger-login-"));
  seen = [];
  [server, other] = [await startFakeServer(routes), await startFakeServer(routes)];
});
afterEach(async () => {
  await Promise.all([server.close(), other.close(), rm(folder, { recursive: true })]);
});

function run(words: string, input = "", environment: Record<string, string> = {}) {
  return runInFakeShell(words.split(" "), { input, environment: { XDG_CONFIG_HOME: folder, ...environment } });
}

const fileOf = (name: string) => join(folder, "claviger", "profiles", `${name}.json`);

describe("claviger login", () => {
  it("keeps address and key for later commands, in a file that only this user can read", async () => {
    const { code, out, err } = await run(`login --url ${server.url}`, `${GOOD}\n`);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).not.toContain(GOOD);
    expect((await stat(fileOf("default"))).mode & 0o777).toBe(0o600);
    expect((await stat(join(folder, "claviger", "profiles"))).mode & 0o777).toBe(0o700);
    expect((await run("keys list")).code).toBe(0);
    expect(seen).toEqual([`Bearer ${GOOD}`, `Bearer ${GOOD}`]);
  });

  it("keeps nothing that the server does not accept", async () => {
    const { code, err } = await run(`login --url ${server.url}`, "hunter2");
    expect(code).toBe(3);
    expect(err).not.toContain("hunter2");
    expect(await readdir(folder)).toEqual([]);
  });

  it("has as many profiles as there are names", async () => {
    await run(`login --url ${server.url} --profile staging`, GOOD);
    expect((await run("keys list", "", { CLAVIGER_PROFILE: "staging" })).code).toBe(0);
    expect(seen).toEqual([`Bearer ${GOOD}`, `Bearer ${GOOD}`]);
    const { code, err } = await run("keys list", "", { CLAVIGER_PROFILE: "production" });
    expect(err).toContain("`claviger login --profile production`");
    expect(code).toBe(2);
    expect((await run("keys list", "", { CLAVIGER_PROFILE: "../../x" })).code).toBe(2);
  });
});

describe("the key of a profile", () => {
  beforeEach(async () => {
    await run(`login --url ${server.url}`, GOOD);
    seen = [];
  });

  it("never goes to another server", async () => {
    await run(`keys list --url ${other.url}`);
    await run("keys list", "", { CLAVIGER_URL: other.url });
    expect(seen).toEqual([null, null]);
    await run(`keys list --url ${server.url}/`);
    expect(seen.at(-1)).toBe(`Bearer ${GOOD}`);
  });

  it("is not used where the environment has one", async () => {
    await run(`keys list --url ${server.url}`, "", { CLAVIGER_TOKEN: "from-the-environment" });
    expect(seen).toEqual(["Bearer from-the-environment"]);
  });

  it("is not used while others may read it", async () => {
    await chmod(fileOf("default"), 0o644);
    const { code, err } = await run("keys list");
    expect(code).toBe(2);
    expect(err).toContain("chmod 600");
    expect(seen).toEqual([]);
  });

  it("is gone after logout", async () => {
    expect((await run("logout")).out).toContain("goes on working until it is revoked");
    await expect(readFile(fileOf("default"))).rejects.toThrow("ENOENT");
    expect((await run("logout")).err).toContain("there is no profile");
  });
});
