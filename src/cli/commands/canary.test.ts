import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { afterEach, describe, expect, it } from "vitest";
import { KeyManagement } from "#gen/claviger/v1/key_management_pb.js";
import { KeyVerifier, Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { type FakeServer, startFakeServer } from "../../../testkit/fakes/fake-server.ts";
import { createFakeShell, runInFakeShell } from "../../../testkit/fakes/fake-shell.ts";
import { run } from "../run.ts";

const servers: FakeServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

/** A node, and what was revoked on it. */
async function startNode({ deaf = false, failures = 0 } = {}) {
  const revoked = new Set<string>();
  const calls: string[] = [];
  let made = 0;
  const routes = (router: ConnectRouter) => {
    router.service(KeyManagement, {
      createKey: ({ owner }) => {
        calls.push(`create ${owner}`);
        made += 1;
        return { key: { id: `key_${made}` }, secret: `secret_${made}` };
      },
      revokeKey: ({ keyId }) => {
        calls.push(`revoke ${keyId}`);
        if (failures-- > 0) throw new ConnectError("not now", Code.Unavailable);
        revoked.add(keyId.replace("key", "secret"));
        return {};
      },
    });
    router.service(KeyVerifier, {
      verify: ({ secret }) => ({ verdict: deaf || !revoked.has(secret) ? Verdict.VALID : Verdict.REVOKED }),
    });
  };
  const server = await startFakeServer(routes);
  servers.push(server);
  return { url: server.url, calls };
}

const once = ["canary", "--rounds", "1"];

describe("claviger canary", () => {
  it("makes and revokes its keys through the first node when no server is named", async () => {
    const node = await startNode();
    const { code, out } = await runInFakeShell([...once, "--node", node.url]);
    expect(out).toMatch(
      /^created in \d+ ms, verified on 1 of 1 nodes in \d+ ms, revoked in \d+ ms: every node obeys\n$/,
    );
    expect(node.calls).toEqual(["create claviger-canary", "revoke key_1"]);
    expect(code).toBe(0);
  });

  it("prints a round as one line of JSON, and ends with 1 when a revoked key was accepted", async () => {
    const { url } = await startNode({ deaf: true });
    const { code, out } = await runInFakeShell([...once, "--json", "--owner", "o"], {
      environment: { CLAVIGER_URL: url },
    });
    expect(out.trim().split("\n")).toHaveLength(1);
    expect(JSON.parse(out)).toMatchObject({
      ...{ round: 1, nodes: [url], reached: [url], revokedButAccepted: [url], undecided: [] },
      ...{ createMs: expect.any(Number), verifyMs: expect.any(Number), revokeMs: expect.any(Number) },
    });
    expect(code).toBe(1);
  });

  it("a round whose key cannot be revoked decides nothing, and the key is revoked all the same in the end", async () => {
    const node = await startNode({ failures: 2 });
    const { code, err } = await runInFakeShell([...once, "--node", node.url]);
    expect(err).toContain("round 1 could not be made");
    expect(node.calls.filter((call) => call === "revoke key_1")).toHaveLength(3);
    expect(code).toBe(4);
  });

  it("runs until it is told to stop, serves its counters meanwhile, and an unreachable node is not fatal", async () => {
    const node = await startNode();
    const gone = await startFakeServer(() => undefined);
    await gone.close();
    const { shell, written } = createFakeShell();
    let stop = () => {};
    const words = ["canary", "--every", "1ms", "--metrics", "127.0.0.1:0", "--node", node.url, "--node", gone.url];
    const ended = run(words, {
      ...shell,
      onStopSignal: (listener) => {
        stop = listener;
      },
    });
    try {
      await expect.poll(() => written().out, { timeout: 10_000 }).toContain(`${gone.url} could not be asked`);
      const [url = ""] = /http:\S+\/metrics/.exec(written().err) ?? [];
      const text = await (await fetch(url)).text();
      expect(text).toMatch(/^claviger_canary_rounds_total [1-9]/m);
      expect(text).toMatch(/^claviger_canary_undecided_total [1-9]/m);
      expect(text).toMatch(/^claviger_canary_revoked_but_accepted_total 0$/m);
      expect((await fetch(new URL("/", url))).status).toBe(404);
    } finally {
      stop();
    }
    expect(await ended).toBe(0);
  });

  it("ends at once with 3 when the first round is refused", async () => {
    const server = await startFakeServer((router) =>
      router.service(KeyManagement, {
        createKey: () => {
          throw new ConnectError("no such caller", Code.Unauthenticated);
        },
      }),
    );
    servers.push(server);
    const { code } = await runInFakeShell(["canary", "--node", server.url]);
    expect(code).toBe(3);
  });

  it.each([
    ["--metrics", "nowhere"],
    ["--rounds", "0"],
    ["--node", "http://user@host"],
  ])("refuses %s %s", async (...words) => {
    expect((await runInFakeShell(["canary", ...words])).code).toBe(2);
  });
});
