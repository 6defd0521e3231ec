import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { beforeEach, describe, expect, it } from "vitest";
import {
  type SyncRequestSchema,
  type SyncResponse,
  SyncResponseSchema,
  VerifyRequestSchema,
} from "#gen/claviger/v1/key_verifier_pb.js";
import { FakeClocks } from "../../../testkit/fakes/fake-clocks.ts";
import { Lease } from "../../verify/lease.ts";
import { LinkBrokenError } from "./pending-requests.ts";
import { SyncLink, type SyncListener } from "./sync-link.ts";
import { UnreadableAnswer } from "./sync-response.ts";

const PATIENCE_MS = 1500;
const WITHIN_MS = 1000;
const MARGIN = 0.98 / 1.02;

type Sent = NonNullable<MessageInitShape<typeof SyncRequestSchema>["message"]>;
type Said = NonNullable<MessageInitShape<typeof SyncResponseSchema>["message"]>;

/** What the server has of one stream. */
interface ServerSide {
  readonly listener: SyncListener;
  readonly sent: Sent[];
  isClosed: boolean;
}

let clocks: FakeClocks;
let lease: Lease;
let dropped: (readonly string[] | "all")[];
let servers: ServerSide[];
let link: SyncLink;
let onBroken: (error: unknown) => void;

beforeEach(() => {
  clocks = new FakeClocks();
  lease = new Lease(clocks);
  [dropped, servers] = [[], []];
  onBroken = () => undefined;
  link = new SyncLink({
    ...{ lease, clocks, timers: clocks, jitter: () => 1, clockRateError: 0.02 },
    ...{ patienceMs: PATIENCE_MS, retryMs: { first: 100, max: 5000 } },
    onBroken: (error) => onBroken(error),
    cache: { apply: (keyIds) => dropped.push(keyIds), clear: () => dropped.push("all") },
    open(listener) {
      const server: ServerSide = { listener, sent: [], isClosed: false };
      servers.push(server);
      return {
        send: ({ message }) => server.sent.push(message as Sent),
        close: () => {
          server.isClosed = true;
        },
      };
    },
  });
  link.start();
});

const server = (): ServerSide => servers.at(-1) as ServerSide;
const say = (message: Said, to = server()) =>
  to.listener.onMessage(create(SyncResponseSchema, { message }) as SyncResponse);

function nonceOf(to: ServerSide): bigint {
  const asked = to.sent.flatMap((message) => (message.case === "lease" ? [message.value] : []));
  return asked.at(-1)?.nonce ?? 0n;
}

function grant(ms: number, to = server(), nonce = nonceOf(to)): void {
  say({ case: "lease", value: { nonce, remaining: durationFromMs(ms), revision: 4n } }, to);
}

describe("the lease of a verifier inside an agent", () => {
  it("runs from before its request, and ends early by the possible difference of two clocks", async () => {
    clocks.stall(200);
    grant(1000);
    expect([link.state, link.appliedRevision]).toEqual(["leased", 4]);
    expect(lease.remainingMs()).toBeCloseTo(Math.floor(1000 * MARGIN) - 200);
    clocks.stall(1000 * MARGIN - 200);
    expect(link.state).toBe("lapsed");
  });

  it("is granted by the answer to the newest request alone", async () => {
    const first = nonceOf(server());
    grant(1000);
    await clocks.pass(700);
    expect(nonceOf(server())).not.toBe(first);
    clocks.stall(1000);
    grant(5000, server(), first);
    expect(link.state).toBe("lapsed");
  });

  it("is requested again while the server has none, and entries stay", async () => {
    grant(1000);
    await clocks.pass(700);
    clocks.stall(1000);
    grant(0);
    const asked = server().sent.length;
    await clocks.pass(PATIENCE_MS);
    expect(server().sent.length).toBeGreaterThan(asked);
    grant(1000);
    expect([link.state, dropped, servers.length]).toEqual(["leased", ["all"], 1]);
  });

  it("runs on after the stream breaks, until the first lease of another stream drops the entries", async () => {
    grant(3000);
    server().listener.onBroken(new Error("cut"));
    expect([lease.isLive(), link.state, dropped]).toEqual([true, "attaching", ["all"]]);
    await clocks.pass(100);
    expect(servers).toHaveLength(2);
    expect(dropped).toEqual(["all"]);
    grant(3000);
    expect(dropped).toEqual(["all", "all"]);
  });

  it("ends at once when the verifier's own key is refused", () => {
    grant(3000);
    server().listener.onBroken(new ConnectError("revoked", Code.Unauthenticated));
    expect(lease.isLive()).toBe(false);
  });

  it("is given back when the server stops, before another stream is opened", () => {
    grant(3000);
    const [old] = servers as [ServerSide];
    say({ case: "closing", value: {} });
    expect(lease.isLive()).toBe(false);
    expect([old.sent.at(-1)?.case, old.isClosed, servers.length]).toEqual(["giveBack", true, 2]);
  });

  it("is given back by close, and no stream is opened afterwards", async () => {
    grant(3000);
    link.close();
    link.close();
    expect([lease.isLive(), server().sent.at(-1)?.case, server().isClosed]).toEqual([false, "giveBack", true]);
    await clocks.pass(60_000);
    expect([servers.length, link.state]).toEqual([1, "closed"]);
  });
});

/** Counts the streams that are opened while each is treated so, for a minute. */
async function streamsInAMinute(treat: () => void): Promise<number> {
  const before = servers.length;
  for (let passedMs = 0; passedMs < 60_000; passedMs += 100) {
    treat();
    await clocks.pass(100);
  }
  return servers.length - before;
}

describe("a node that misbehaves", () => {
  const leases = () => server().sent.filter((message) => message.case === "lease").length;
  const request = create(VerifyRequestSchema, { secret: "s" });

  it("grants a minute at most, and makes no timer fire at once", async () => {
    const seconds = 10n ** 12n;
    say({ case: "lease", value: { nonce: nonceOf(server()), remaining: { seconds }, revision: 4n } });
    expect(lease.remainingMs()).toBeLessThanOrEqual(60_000);
    await clocks.pass(30_000);
    expect(leases()).toBe(1);
  });

  it.each<[string, { readonly seconds: bigint; readonly nanos?: number } | undefined]>([
    ["less than nothing", { seconds: -1n }],
    ["minus 30,000 years", { seconds: -(10n ** 12n) }],
    ["nanoseconds that outweigh its seconds", { seconds: 1n, nanos: -2_000_000_000 }],
    ["a nanosecond", { seconds: 0n, nanos: 1 }],
    ["no time at all", undefined],
  ])("grants nothing by a lease of %s", (_, remaining) => {
    say({ case: "lease", value: { nonce: nonceOf(server()), revision: 4n, ...(remaining && { remaining }) } });
    expect([lease.isLive(), link.state]).toEqual([false, "attaching"]);
  });

  it("is not asked for a lease more often than each 50 ms, however short it grants them", async () => {
    for (let turn = 0; turn < 1000; turn++) {
      grant(3);
      await clocks.pass(1);
    }
    expect(leases()).toBeLessThanOrEqual(1000 / 50 + 1);
  });

  it("cannot delay the next request by repeating a grant", async () => {
    const nonce = nonceOf(server());
    for (let turn = 0; turn < 100; turn++) {
      grant(1000, server(), nonce);
      await clocks.pass(10);
    }
    expect(leases()).toBe(2);
  });

  it.each([0, 50])("and announces a stop %i ms after its lease causes no storm of streams", async (afterMs) => {
    const opened = await streamsInAMinute(() => {
      const current = server();
      if (current.isClosed) return;
      grant(3000);
      void clocks.after(afterMs, () => current === server() && say({ case: "closing", value: {} }));
    });
    expect(opened).toBeGreaterThan(5);
    expect(opened).toBeLessThan(30);
  });

  it("and never answers gets no questions while it owes twenty, and then loses its stream", async () => {
    grant(60_000);
    const first = server();
    const asked = Array.from({ length: 100 }, () => link.ask(request, WITHIN_MS).catch((error: unknown) => error));
    expect(link.isAttached).toBe(true);
    await clocks.pass(WITHIN_MS);
    expect(await Promise.all(asked)).toEqual(Array(100).fill(expect.any(LinkBrokenError)));
    expect(link.isAttached).toBe(false);
    for (let id = 1n; id <= 81n; id++) say({ case: "answer", value: { id } });
    expect(link.isAttached).toBe(true);
    await clocks.pass(60_000);
    expect(first.isClosed).toBe(true);
  });

  it("and never answers a report loses its stream, and the report is not lost", async () => {
    grant(3000);
    const [first] = servers as [ServerSide];
    const outcome = link
      .report({ case: "usage", value: { epoch: "e", sequence: 1n, deltas: [] } })
      .catch((error: unknown) => error);
    for (let turn = 0; turn < 20 && !first.isClosed; turn++) {
      await clocks.pass(1000);
      if (nonceOf(first) > 0n && !first.isClosed) grant(3000, first);
    }
    expect(await outcome).toBeInstanceOf(LinkBrokenError);
  });

  it("and sends an answer that does not decode costs its question, not the stream", async () => {
    grant(3000);
    const [bad, good] = [link.ask(request, WITHIN_MS).catch((error: unknown) => error), link.ask(request, WITHIN_MS)];
    server().listener.onMessage(new UnreadableAnswer(1n, new Error("too deep")));
    say({ case: "answer", value: { id: 2n } });
    expect(await bad).toMatchObject({ code: Code.Internal, cause: new Error("too deep") });
    expect([(await good).id, link.state, servers.length]).toEqual([2n, "leased", 1]);
  });
});

describe("a stream", () => {
  it("is replaced when no lease comes in time, and its later messages are ignored", async () => {
    const [old] = servers as [ServerSide];
    await clocks.pass(PATIENCE_MS + 200);
    expect([old.isClosed, servers.length]).toEqual([true, 2]);
    grant(3000, old);
    expect(link.state).toBe("attaching");
  });

  it("is opened again after a back-off that grows to its limit", async () => {
    const pauses: number[] = [];
    for (let turn = 0; turn < 8; turn++) {
      server().listener.onBroken(new Error("refused"));
      const before = servers.length;
      let pausedMs = 0;
      for (; servers.length === before; pausedMs += 100) await clocks.pass(100);
      pauses.push(pausedMs);
    }
    expect(pauses).toEqual([100, 200, 400, 800, 1600, 3200, 5000, 5000]);
  });

  it("that breaks ends its questions, and another is opened, also if onBroken throws", async () => {
    onBroken = () => {
      throw new Error("somebody else's");
    };
    grant(3000);
    const asked = link.ask(create(VerifyRequestSchema, { secret: "s" }), WITHIN_MS);
    server().listener.onBroken(new Error("broke"));
    await expect(asked).rejects.toThrow("the stream to the server broke");
    await clocks.pass(100);
    expect([servers.length, link.isAttached]).toEqual([2, false]);
  });

  it("that breaks may be the last, because onBroken may close the link", async () => {
    onBroken = () => link.close();
    server().listener.onBroken(new Error("broke"));
    await clocks.pass(10_000);
    expect([servers.length, link.state]).toEqual([1, "closed"]);
  });

  it("that was dropped is ignored, whatever it grants", async () => {
    const [old] = servers as [ServerSide];
    old.listener.onBroken(new Error("broke"));
    await clocks.pass(100);
    grant(1000, old, nonceOf(server()));
    expect([link.state, link.isAttached, link.appliedRevision]).toEqual(["attaching", false, 0]);
    grant(1000);
    expect([link.state, link.isAttached, link.appliedRevision]).toEqual(["leased", true, 4]);
  });

  it("acknowledges a change once it is applied, and drops all entries if it may be any key", () => {
    grant(3000);
    say({ case: "change", value: { sequence: 1n, keyIds: ["key_a"] } });
    expect(dropped).toEqual(["all", ["key_a"]]);
    expect(server().sent.at(-1)).toMatchObject({ case: "applied", value: { sequence: 1n } });
    say({ case: "change", value: { sequence: 2n, allKeys: true } });
    expect(dropped).toEqual(["all", ["key_a"], "all"]);
    expect(server().sent.at(-1)).toMatchObject({ case: "applied", value: { sequence: 2n } });
  });
});

describe("an answer", () => {
  const request = create(VerifyRequestSchema, { secret: "s" });

  it("is not requested on a stream before its first lease", async () => {
    expect([link.isAttached, await link.ask(request, WITHIN_MS).catch((error: unknown) => error)]).toEqual([
      false,
      expect.any(LinkBrokenError),
    ]);
    grant(3000);
    const asked = link.ask(request, WITHIN_MS);
    say({ case: "answer", value: { id: 1n } });
    expect((await asked).id).toBe(1n);
  });

  it("fails if it does not come before the stream breaks, and so does a report", async () => {
    grant(3000);
    const asked = link.ask(request, WITHIN_MS).catch((error: unknown) => error);
    const reported = link
      .report({ case: "usage", value: { epoch: "e", sequence: 1n, deltas: [] } })
      .catch((error: unknown) => error);
    server().listener.onBroken(new Error("cut"));
    expect([await asked, await reported]).toEqual([expect.any(LinkBrokenError), expect.any(LinkBrokenError)]);
    expect(await link.ask(request, WITHIN_MS).catch((error: unknown) => error)).toBeInstanceOf(LinkBrokenError);
  });
});
