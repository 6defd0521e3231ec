import { Code, ConnectError, createClient, createRouterTransport } from "@connectrpc/connect";
import { expect, test, vi } from "vitest";
import { Health, HealthCheckResponse_ServingStatus as Status } from "#gen/grpc/health/v1/health_pb.js";
import { REASON_HEADER } from "../../wire/errors.ts";
import { createHealth } from "./health.ts";

const verifier = "claviger.v1.KeyVerifier";

function setUp(options: { maxWatchers?: number } = {}) {
  const health = createHealth({ services: [verifier], ...options });
  const client = createClient(Health, createRouterTransport(health.routes));
  function watch(service: string) {
    const abort = new AbortController();
    const stream = client.watch({ service }, { signal: abort.signal })[Symbol.asyncIterator]();
    return { next: async () => (await stream.next()).value?.status, stop: () => abort.abort() };
  }
  return { health, client, watch };
}

async function codeOf(call: Promise<unknown>): Promise<Code | undefined> {
  return call.then(
    () => undefined,
    (error) => ConnectError.from(error).code,
  );
}

test("the process is serving from the start, a service once it is said to be", async () => {
  const { health, client } = setUp();
  expect((await client.check({})).status).toBe(Status.SERVING);
  expect((await client.check({ service: verifier })).status).toBe(Status.NOT_SERVING);
  health.set(verifier, true);
  expect((await client.check({ service: verifier })).status).toBe(Status.SERVING);
});

test("a check names the reason for which a service does not do all its work, and others have none", async () => {
  let reason: string | undefined = "changes fail: no space";
  const health = createHealth({
    services: [verifier, "other"],
    reasonOf: (service) => (service === "other" ? reason : undefined),
  });
  const client = createClient(Health, createRouterTransport(health.routes));
  async function reasonOf(service: string): Promise<string | null | undefined> {
    const seen: (string | null)[] = [];
    await client.check({ service }, { onHeader: (headers) => void seen.push(headers.get(REASON_HEADER)) });
    return seen[0];
  }
  expect(await reasonOf("other")).toBe(reason);
  expect(await reasonOf(verifier)).toBeNull();
  reason = undefined;
  expect(await reasonOf("other")).toBeNull();
});

test("List tells every service", async () => {
  const { statuses } = await setUp().client.list({});
  expect(Object.entries(statuses).map(([name, { status }]) => [name, status])).toEqual(
    expect.arrayContaining([
      ["", Status.SERVING],
      [verifier, Status.NOT_SERVING],
    ]),
  );
});

test("an unknown service is NOT_FOUND for Check and SERVICE_UNKNOWN for Watch", async () => {
  const { client, watch } = setUp();
  expect(await codeOf(client.check({ service: "nobody" }))).toBe(Code.NotFound);
  const watcher = watch("nobody");
  expect(await watcher.next()).toBe(Status.SERVICE_UNKNOWN);
  watcher.stop();
});

test("setting a service that was not named is refused", () => {
  expect(() => setUp().health.set("nobody", true)).toThrow('unknown service "nobody": name it in createHealth');
});

test("a watcher is told the status at once and each change, but no repetition", async () => {
  const { health, watch } = setUp();
  const watcher = watch(verifier);
  expect(await watcher.next()).toBe(Status.NOT_SERVING);
  health.set(verifier, false);
  const told = watcher.next();
  await new Promise(setImmediate);
  health.set(verifier, true);
  expect(await told).toBe(Status.SERVING);
  watcher.stop();
});

test("after shutdown nothing serves again, and watchers are told before their streams end", async () => {
  const { health, client, watch } = setUp();
  health.set(verifier, true);
  const watchers = [watch(verifier), watch("nobody")] as const;
  expect(await Promise.all(watchers.map((w) => w.next()))).toEqual([Status.SERVING, Status.SERVICE_UNKNOWN]);
  health.shutdown();
  health.set(verifier, true);
  expect((await client.check({ service: verifier })).status).toBe(Status.NOT_SERVING);
  expect((await client.check({})).status).toBe(Status.NOT_SERVING);
  expect(await watchers[0].next()).toBe(Status.NOT_SERVING);
  for (const watcher of watchers) expect(await codeOf(watcher.next())).toBe(Code.Unavailable);
});

test("watchers are bounded, and one that leaves makes room", async () => {
  const { watch } = setUp({ maxWatchers: 1 });
  const first = watch("");
  await first.next();
  expect(await codeOf(watch("").next())).toBe(Code.Unavailable);
  first.stop();
  await vi.waitFor(async () => {
    const second = watch("");
    expect(await second.next()).toBe(Status.SERVING);
    second.stop();
  });
});
