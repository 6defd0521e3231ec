import { toJson } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ConnectRouter } from "@connectrpc/connect";
import { afterEach, describe, expect, it } from "vitest";
import { CreateKeyRequestSchema, KeyManagement, UpdateKeyRequestSchema } from "#gen/claviger/v1/key_management_pb.js";
import { QueryUsageRequestSchema } from "#gen/claviger/v1/usage_pb.js";
import { type FakeServer, startFakeServer } from "../../../testkit/fakes/fake-server.ts";
import { NOW, runInFakeShell } from "../../../testkit/fakes/fake-shell.ts";

const ID = "key_01hzy3v7mkf5c9q2w8xanb4tde";
const DAY_MS = 86_400_000;
const MIDNIGHT = NOW.getTime() - (NOW.getTime() % DAY_MS);

let server: FakeServer | undefined;
let seen: unknown;
afterEach(() => server?.close());

async function run(words: string, group: readonly Record<string, string>[] = [{}]) {
  server = await startFakeServer((router: ConnectRouter) =>
    router.service(KeyManagement, {
      queryUsage(request) {
        seen = toJson(QueryUsageRequestSchema, request);
        const points = [0, 1].flatMap((day) =>
          group.map((values, at) => ({
            startTime: timestampFromMs(MIDNIGHT - (1 - day) * DAY_MS),
            group: values,
            count: BigInt(10 * (at + 1) * day),
          })),
        );
        return { points, total: points.reduce((sum, { count }) => sum + count, 0n) };
      },
      createKey(request) {
        seen = toJson(CreateKeyRequestSchema, request);
        return {};
      },
      getKey: () => ({ key: { id: ID, etag: "r7", limits: { requestsPerSecond: 5, burst: 9 } } }),
      updateKey(request) {
        seen = toJson(UpdateKeyRequestSchema, request);
        return { key: { id: ID } };
      },
    }),
  );
  return runInFakeShell(words.split(" "), { environment: { CLAVIGER_URL: server.url } });
}

describe("claviger usage", () => {
  it("draws a bar a day, today included", async () => {
    const { out, code } = await run(`usage ${ID}`);
    const [yesterday, today] = [MIDNIGHT - DAY_MS, MIDNIGHT].map((ms) => new Date(ms).toISOString().slice(0, 10));
    expect(out).toBe(`${yesterday} UTC  0\n${today} UTC  10  ${"█".repeat(40)}\n10 in all\n`);
    expect(code).toBe(0);
    expect(seen).toMatchObject({
      keyId: ID,
      startTime: new Date(MIDNIGHT - 6 * DAY_MS).toISOString().replace(".000", ""),
      step: "USAGE_STEP_DAY",
    });
  });

  it("takes hours for a day or two, and gives each its time, midnight too", async () => {
    const { out } = await run("usage --owner u42 --days 1");
    expect(out).toMatch(/^2026-11-21 00:00 UTC {2}0\n2026-11-22 00:00 UTC {2}10 /);
    expect(seen).toMatchObject({ owner: "u42", step: "USAGE_STEP_HOUR" });
  });

  it("draws a bar for each verdict, largest first, with names for people", async () => {
    const groups = [{ verdict: "VERDICT_VALID" }, { verdict: "VERDICT_SCOPE_MISSING" }, { verdict: "" }];
    const { out } = await run(`usage ${ID} --by verdict`, groups);
    expect(out.split("\n").map((line) => line.split(/\s+/)[0])).toEqual(["(none)", "scope-missing", "valid", "60", ""]);
    expect(seen).toMatchObject({ groupBy: ["USAGE_DIMENSION_VERDICT"] });
  });

  it("prints what the server answered as JSON", async () => {
    const { out } = await run(`usage ${ID} --json`);
    expect(JSON.parse(out)).toMatchObject({ total: 10, points: [{ count: 0 }, { count: 10 }] });
  });

  it.each([
    [`usage ${ID} --owner u42`, "not both"],
    [`usage ${ID} --days 0`, "whole number from 1"],
    [`usage ${ID} --by colour`, "Allowed choices"],
  ])("refuses what makes no sense: %s", async (words, says) => {
    const { err, code } = await run(words);
    expect(err).toContain(says);
    expect(code).toBe(2);
  });
});

describe("limits on the command line", () => {
  it("are sent with a new key", async () => {
    await run("keys create --name k --requests-per-second 5 --burst 9 --requests-per-day 100 --json");
    expect(seen).toMatchObject({ limits: { requestsPerSecond: 5, burst: 9, requestsPerDay: 100 } });
  });

  it("change one of those that a key has, unless somebody else does meanwhile", async () => {
    await run(`keys update ${ID} --requests-per-day 7 --json`);
    const limits = { requestsPerSecond: 5, burst: 9, requestsPerDay: 7 };
    expect(seen).toEqual({ key: { id: ID, etag: "r7", limits }, updateMask: "limits" });
  });

  it("are taken away one by one with 0, or all at once", async () => {
    await run(`keys update ${ID} --burst 0 --json`);
    expect(seen).toMatchObject({ key: { limits: { requestsPerSecond: 5 } } });
    await server?.close();
    await run(`keys update ${ID} --clear limits --json`);
    expect(seen).toEqual({ key: { id: ID }, updateMask: "limits" });
  });
});
