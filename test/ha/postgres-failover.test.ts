import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Code } from "@connectrpc/connect";
import { afterEach, expect, it } from "vitest";
import { Freshness } from "#gen/claviger/v1/key_verifier_pb.js";
import { createVerifier } from "../../src/sdk/index.ts";
import { bootstrapAdmin } from "../../src/server/bootstrap.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { type Clients, connect, TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { describeWithStandby } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { type PostgresPair, type PostgresPairOptions, startPostgresPair } from "../../testkit/postgres-pair.ts";
import { type ServerProcess, startServer } from "../../testkit/server-process.ts";
import { createTcpProxy, type TcpProxy } from "../../testkit/tcp-proxy.ts";
import { type CachedSecret, History } from "../chaos/history.ts";
import { hostMs } from "../chaos/host-clock.ts";
import { type MadeKey, makeKey } from "../rpc/make-key.ts";
import { verdictOf } from "../rpc/verdict-of.ts";

const LEASE_MS = 1000;
/** Far above what a failover takes: a machine that is three times as slow, and busy, passes too. */
const PATIENCE = { withinMs: 45_000, everyMs: 50 };
/** How long a standby is knocked at before it is promoted. */
const KNOCKING_MS = 3000;
/**
 * Attempts to connect that two nodes may make in that time: each of three pools and a probe has at most four a second
 * after its first ones, of which there are as many as connections. Without a bound it is one for each read.
 */
const MOST_ATTEMPTS = 2 * (10 + 10 + 2 + 4 * 4 * (KNOCKING_MS / 1000));

interface StartOptions extends PostgresPairOptions {
  readonly mutate?: readonly Mutation[];
  /** Whether both nodes know both servers, the first of them by its proxy. */
  readonly isFirstBehindProxy?: boolean;
}

interface Node {
  readonly server: ServerProcess;
  readonly clients: Clients;
  readonly agent: ReturnType<typeof createVerifier>;
}

describeWithStandby("a failover of Postgres", () => {
  const cleanUps: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  }, 60_000);

  /** A pair, and two nodes: one reaches it by one address, the other by those of both servers. */
  async function start(options: StartOptions = {}) {
    const pair = await startPostgresPair(options);
    cleanUps.push(() => pair.stop());
    const proxy = await createTcpProxy({ port: pair.primary.port });
    cleanUps.push(() => proxy.close());
    const { secret } = await bootstrapAdmin(
      await loadConfig({ CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET, DATABASE_URL: pair.primary.url }),
    );
    const token = secret.reveal();
    const hosts = (ports: readonly number[]) => ports.map((port) => `127.0.0.1:${port}`).join(",");
    const both = hosts([proxy.port, pair.ports[1]]);
    const places = options.isFirstBehindProxy ? [both, both] : [hosts([proxy.port]), hosts(pair.ports)];
    const nodes = await Promise.all(places.map((place) => startNode(place, token, options.mutate ?? [])));
    return { pair, proxy, nodes: nodes as [Node, Node] };
  }

  async function startNode(place: string, token: string, mutate: readonly Mutation[]): Promise<Node> {
    const server = await startServer({
      mutate,
      env: {
        DATABASE_URL: `postgres://postgres@${place}/postgres?target_session_attrs=read-write`,
        CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET,
        CLAVIGER_LEASE_MS: String(LEASE_MS),
        CLAVIGER_LOG_LEVEL: "warn",
      },
    });
    cleanUps.push(() => server.kill("SIGKILL"));
    const agent = createVerifier({ url: server.url, token, reportEveryMs: 1000, timeoutMs: 1500 });
    cleanUps.push(() => agent.close().catch(() => undefined));
    return { server, clients: connect(server.url, token), agent };
  }

  /** Verifies all the time on both nodes, by calls and in agents, and revokes keys on both. */
  function traffic(nodes: readonly Node[]) {
    const history = new History();
    const known: CachedSecret[] = [];
    const revokedAt: number[][] = nodes.map(() => []);
    let isOver = false;
    const until = async (work: () => Promise<unknown>) => {
      while (!isOver) {
        await work().catch(() => sleep(20));
        await sleep(3);
      }
    };
    const recent = () => known.slice(-20);
    const all = nodes.flatMap(({ clients, agent }, index) => {
      let turn = 0;
      const next = () => recent()[turn++ % Math.max(1, recent().length)];
      const verify = async () => {
        const secret = next();
        if (secret === undefined) return;
        const call = { by: `node ${index}`, began: hostMs(), narrow: false };
        history.verified(secret, call, await clients.verifier.verify({ secret: secret.secret }, { timeoutMs: 5000 }));
      };
      const verifyInAgent = async () => {
        const secret = next();
        if (secret === undefined) return;
        const call = { by: `agent ${index}`, began: hostMs(), narrow: false };
        const remembered = agent.verifySync(secret.secret);
        const { verdict } = remembered === "ask" ? await agent.verify(secret.secret) : remembered;
        const freshness = remembered === "ask" ? Freshness.UNSPECIFIED : Freshness.LEASED;
        history.verified(secret, call, { verdict, freshness });
      };
      const revoke = async () => {
        const { id, secret } = await makeKey(clients, { owner: `owner-${known.length}` });
        const one: CachedSecret = { keyId: id, secret, deadFrom: undefined, narrowFrom: undefined, holders: new Map() };
        known.push(one);
        await sleep(50);
        for (;;) {
          try {
            await clients.keys.revokeKey({ keyId: id }, { timeoutMs: 10_000 });
            break;
          } catch (error) {
            if (isOver) throw error;
            await sleep(20);
          }
        }
        one.deadFrom = hostMs();
        revokedAt[index]?.push(one.deadFrom);
      };
      return [until(verify), until(verify), until(verifyInAgent), until(revoke)];
    });
    const end = async () => {
      isOver = true;
      await Promise.all(all);
    };
    cleanUps.push(end);
    /** Resolves once every node has revoked a key whose revocation ended after `from`; returns when the last did. */
    const revokedAfter = (from: number) =>
      eventually(() => {
        const firsts = revokedAt.map((times) => times.find((time) => time > from));
        if (firsts.includes(undefined)) throw new Error(`no revocation on a node: ${firsts}`);
        return Math.max(...firsts.map((time) => time ?? 0));
      }, PATIENCE);
    return { history, known, revokedAfter, revoked: () => revokedAt.flat().length, end };
  }

  async function metric({ server }: Node, name: string): Promise<number> {
    const text = await (await fetch(`${server.url}/metrics`)).text();
    return Number(new RegExp(`^${name} (\\d+)$`, "m").exec(text)?.[1]);
  }

  const connectionsTo = (logFile: string) => readFileSync(logFile, "utf8").split("connection received").length - 1;
  const lead = (proxy: TcpProxy, pair: PostgresPair) => {
    proxy.lead(pair.primary.port);
    proxy.reset();
  };

  it("to its synchronous standby is followed by the same processes, and no revoked key is VALID on the way", async () => {
    const { pair, proxy, nodes } = await start({ settings: { log_connections: "on" } });
    const { history, known, revokedAfter, revoked, end } = traffic(nodes);
    await revokedAfter(hostMs());
    await eventually(() => expect(nodes.map(({ agent }) => agent.fresh)).toEqual([true, true]), PATIENCE);

    const { standby } = pair;
    if (standby === undefined) throw new Error("the pair has no standby");
    await pair.killPrimary();
    proxy.lead(standby.port);
    proxy.reset();
    const [before, revokedBefore] = [connectionsTo(standby.logFile), revoked()];
    // A span that is measured, and not an event that is waited for.
    await sleep(KNOCKING_MS);
    const attempts = connectionsTo(standby.logFile) - before;
    // What was on its way when the primary ended.
    expect(revoked() - revokedBefore).toBeLessThanOrEqual(nodes.length);
    expect(attempts).toBeGreaterThan(0);
    expect(attempts).toBeLessThan(MOST_ATTEMPTS);
    for (const { clients } of nodes) {
      await expect(verdictOf(clients, known[0]?.secret ?? "")).rejects.toMatchObject({ code: Code.Unavailable });
    }

    await pair.promote();
    const promoted = hostMs();
    const back = await revokedAfter(promoted);
    await eventually(() => expect(nodes.map(({ agent }) => agent.fresh)).toEqual([true, true]), PATIENCE);
    const agentsBack = hostMs();
    await pair.rejoin();
    const rejoined = hostMs();
    await revokedAfter(rejoined);
    await end();
    console.log(
      JSON.stringify({
        ...{ firstRevocationMs: Math.round(back - promoted), agentsMs: Math.round(agentsBack - promoted) },
        ...{ attempts, knockingMs: KNOCKING_MS, revoked: revoked(), counts: history.counts },
      }),
    );

    expect(history.violations).toEqual([]);
    expect(history.counts.valid).toBeGreaterThan(0);
    for (const node of nodes) {
      for (const { secret } of known.filter(({ deadFrom }) => deadFrom !== undefined)) {
        expect(await eventually(() => verdictOf(node.clients, secret))).toBe("REVOKED");
      }
      expect(await metric(node, "claviger_registrations_total")).toBeGreaterThanOrEqual(2);
      expect(await metric(node, "claviger_lost_revisions_total")).toBe(0);
    }
  }, 150_000);

  it("is followed where the primary is silent, and no connection to it ends", async () => {
    const { pair, proxy, nodes } = await start({ isFirstBehindProxy: true });
    const { history, revokedAfter, end } = traffic(nodes);
    await revokedAfter(hostMs());
    proxy.hang();
    await pair.promote();
    const promoted = hostMs();
    const back = await revokedAfter(promoted);
    await end();
    console.log(JSON.stringify({ afterSilenceMs: Math.round(back - promoted), counts: history.counts }));
    expect(history.violations).toEqual([]);
  }, 120_000);

  it("to a standby that lags says in the log and in a metric which changes are lost", async () => {
    const { pair, proxy, nodes } = await start({ isSynchronous: false });
    await pair.caughtUp();
    const keys: MadeKey[] = [];
    for (let i = 0; i < 5; i++) keys.push(await makeKey(nodes[0].clients, { owner: `lost-${i}` }));
    await pair.caughtUp();
    await pair.cutOffStandby();
    for (const { id } of keys) await nodes[0].clients.keys.revokeKey({ keyId: id });
    await pair.killPrimary();
    await pair.promote();
    lead(proxy, pair);
    await eventually(async () => {
      for (const node of nodes) expect(await metric(node, "claviger_registrations_total")).toBeGreaterThanOrEqual(2);
    }, PATIENCE);
    for (const node of nodes) {
      expect(await metric(node, "claviger_lost_revisions_total")).toBe(keys.length);
      const line = node.server
        .stderr()
        .split("\n")
        .find((text) => text.includes("revisions lost"));
      expect(JSON.parse(line ?? "{}")).toMatchObject({
        ...{ level: "error", appliedRevision: expect.any(Number), foundRevision: expect.any(Number) },
        msg: expect.stringContaining("Revoke again"),
      });
      expect(await eventually(() => verdictOf(node.clients, keys[0]?.secret ?? ""))).toBe("VALID");
    }
  }, 120_000);

  /** What a node says of a key that was revoked after the failover, while it is led back to the old primary. */
  async function ledBack(mutate: readonly Mutation[]) {
    // One that is synchronous takes no registrations while its standby is gone.
    const { pair, proxy, nodes } = await start({ mutate, isSynchronous: false });
    const [led, other] = nodes;
    const { id, secret } = await makeKey(other.clients, { owner: "led-back" });
    await pair.caughtUp();
    await pair.killPrimary();
    const old = await pair.promote();
    lead(proxy, pair);
    await eventually(() => other.clients.keys.revokeKey({ keyId: id }), PATIENCE);
    await eventually(async () => expect(await verdictOf(led.clients, secret)).toBe("REVOKED"), PATIENCE);
    await old.restart();
    proxy.lead(old.port);
    proxy.reset();
    const seen = new Set<string | undefined>();
    const look = async () => {
      seen.add(await verdictOf(led.clients, secret).catch(() => "UNDECIDED"));
      return led.server.stderr();
    };
    return { look, seen };
  }

  it("is not gone back on: a node that is led to the old primary decides nothing there", async () => {
    const { look, seen } = await ledBack([]);
    await eventually(async () => expect(await look()).toContain("an earlier timeline of the database"), PATIENCE);
    for (let i = 0; i < 100; i++) await look();
    expect(seen).not.toContain("VALID");
  }, 120_000);

  it("control: without that rule, it registers with the old primary and accepts a key that is revoked", async () => {
    const { look, seen } = await ledBack([
      {
        file: "src/server/open/open-storage.ts",
        find: "expected !== undefined && isEarlierTimeline(identity, expected) ? EARLIER_TIMELINE : undefined",
        replace: "undefined",
      },
    ]);
    await eventually(async () => {
      await look();
      expect(seen).toContain("VALID");
    }, PATIENCE);
  }, 120_000);
});
