import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { AttachKeyOptions } from "../../src/sdk/attach/attached-key.ts";
import { fromFile, type KeyFile, type KeySource } from "../../src/sdk/attach/key-source.ts";
import { attachKey as attachToConnect } from "../../src/sdk/connect/index.ts";
import { attachKey as attachToGrpcJs } from "../../src/sdk/grpc-js/index.ts";
import { startConnectEcho } from "./connect-echo.ts";
import { ABORT, type EchoServer, REFUSE_LATE } from "./doorkeeper.ts";
import { connectConnect, type EchoClient } from "./echo-client.ts";
import { startGrpcJsEcho } from "./grpc-js-echo.ts";
import { connectGrpcJs } from "./grpc-js-echo-client.ts";

type Connect = (address: string, source: KeySource, options?: AttachKeyOptions) => EchoClient;

const overConnect =
  (protocol: "gRPC" | "gRPC-Web" | "Connect"): Connect =>
  (address, source, options) =>
    connectConnect(protocol, address, attachToConnect(source, options));
const overGrpcJs: Connect = (address, source, options) => connectGrpcJs(address, attachToGrpcJs(source, options));

const PAIRS: [client: string, server: string, connect: Connect, start: () => Promise<EchoServer>][] = [
  ["Connect over gRPC", "connect-node", overConnect("gRPC"), startConnectEcho],
  ["Connect over gRPC-Web", "connect-node", overConnect("gRPC-Web"), startConnectEcho],
  ["Connect over its own protocol", "connect-node", overConnect("Connect"), startConnectEcho],
  ["Connect over gRPC", "grpc-js", overConnect("gRPC"), startGrpcJsEcho],
  ["grpc-js", "grpc-js", overGrpcJs, startGrpcJsEcho],
  ["grpc-js", "connect-node", overGrpcJs, startConnectEcho],
];

const KINDS: [kind: string, call: (client: EchoClient) => Promise<unknown>, answer: unknown][] = [
  ["unary", (client) => client.unary("a"), "a"],
  ["server-streaming", (client) => client.serverStream("a"), ["a 1", "a 2", "a 3"]],
  ["client-streaming", (client) => client.clientStream(["a", "b"]), "a b"],
  ["bidirectional", (client) => client.bidi(["a", "b"]), ["a", "b"]],
];
const REPEATABLE = KINDS.slice(0, 2);
const UNREPEATABLE = KINDS.slice(2);

const SOON = "2031-02-03T04:05:06.789Z";

/** A source that has what it is told to have only once it is asked again. */
function sourceOf(...secrets: string[]) {
  return vi.fn(() => (secrets.length > 1 ? secrets.shift() : secrets[0]) ?? "");
}

describe.each(PAIRS)("attachKey of a client of %s with a server of %s", (_client, _server, connect, start) => {
  let server: EchoServer;
  beforeAll(async () => {
    server = await start();
  });
  afterAll(() => server.close());
  beforeEach(() => {
    Object.assign(server.door, { accepted: [], retires: {} });
    server.door.seen.length = 0;
  });

  async function using<Result>(
    [source, options]: [KeySource, AttachKeyOptions?],
    use: (client: EchoClient) => Promise<Result>,
  ): Promise<Result> {
    const client = connect(server.address, source, options);
    return await use(client).finally(() => client.close());
  }

  it.each(KINDS)("a %s call carries the secret", async (_kind, call, answer) => {
    server.door.accepted = ["s1"];
    expect(await using(["s1"], call)).toEqual(answer);
    expect(await using([() => "s1"], call)).toEqual(answer);
    expect(await using([async () => " s1\n"], call)).toEqual(answer);
    expect(server.door.seen).toEqual(["Bearer s1", "Bearer s1", "Bearer s1"]);
  });

  it.each(REPEATABLE)("a refused %s call is repeated with the current secret", async (_, call, answer) => {
    server.door.accepted = ["s2"];
    expect(await using([sourceOf("s1", "s2")], call)).toEqual(answer);
    expect(server.door.seen).toEqual(["Bearer s1", "Bearer s2"]);
  });

  it.each(REPEATABLE)("a %s call is repeated at most once", async (_, call) => {
    const refused = using([sourceOf("s1", "s2", "s3", "s4")], call);
    await expect(refused).rejects.toMatchObject({ code: Code.Unauthenticated });
    expect(server.door.seen).toEqual(["Bearer s1", "Bearer s2"]);
  });

  it.each(REPEATABLE)("a %s call that is refused with the only secret is not repeated", async (_, call) => {
    await expect(using(["s1"], call)).rejects.toMatchObject({ code: Code.Unauthenticated });
    await expect(using([sourceOf("s1", "s1")], call)).rejects.toMatchObject({ code: Code.Unauthenticated });
    expect(server.door.seen).toEqual(["Bearer s1", "Bearer s1"]);
  });

  it.each(REPEATABLE)("a %s call ends with its refusal if the source has lost its secret", async (_, call) => {
    await expect(using([sourceOf("s1", "")], call)).rejects.toMatchObject({ code: Code.Unauthenticated });
    expect(server.door.seen).toEqual(["Bearer s1"]);
  });

  it.each(UNREPEATABLE)("a %s call is not repeated", async (_, call) => {
    await expect(using([sourceOf("s1", "s2")], call)).rejects.toMatchObject({ code: Code.Unauthenticated });
    expect(server.door.seen).toEqual(["Bearer s1"]);
  });

  it("a stream that was answered in part is not repeated", async () => {
    server.door.accepted = ["s1", "s2"];
    const received: string[] = [];
    const call = using([sourceOf("s1", "s2")], (client) =>
      client.serverStream(REFUSE_LATE, { onMessage: (value) => received.push(value) }),
    );
    await expect(call).rejects.toMatchObject({ code: Code.Unauthenticated });
    expect(received).toEqual([`${REFUSE_LATE} 1`]);
    expect(server.door.seen).toEqual(["Bearer s1"]);
  });

  it.each(KINDS)("a %s call that already has an authorization is sent unchanged", async (kind) => {
    server.door.accepted = ["mine"];
    const source = sourceOf("s1");
    const own = { authorization: "Bearer mine" };
    const calls: Record<string, (client: EchoClient) => Promise<unknown>> = {
      unary: (client) => client.unary("a", own),
      "server-streaming": (client) => client.serverStream("a", own),
      "client-streaming": (client) => client.clientStream(["a"], own),
      bidirectional: (client) => client.bidi(["a"], own),
    };
    await using([source], calls[kind] ?? (() => Promise.reject(new Error(`no call of kind ${kind}`))));
    server.door.accepted = [];
    const refused = using([source], (client) => client.unary("a", own));
    await expect(refused).rejects.toMatchObject({ code: Code.Unauthenticated });
    expect(server.door.seen).toEqual(["Bearer mine", "Bearer mine"]);
    expect(source).not.toHaveBeenCalled();
  });

  it.each(KINDS)("is called once for each retiring secret of a %s call", async (_, call) => {
    server.door.accepted = ["s1", "s2"];
    server.door.retires = { s1: SOON };
    const onRetiring = vi.fn();
    let secret = "s1";
    await using([() => secret, { onRetiring }], async (client) => {
      await call(client);
      await call(client);
      secret = "s2";
      await call(client);
      expect(onRetiring.mock.calls).toEqual([[new Date(SOON)]]);
      server.door.retires = { s2: SOON };
      await call(client);
      expect(onRetiring.mock.calls).toEqual([[new Date(SOON)], [new Date(SOON)]]);
    });
  });

  it("is called for the retiring secret of a call that ends with an error", async () => {
    server.door.accepted = ["s1", "s2"];
    server.door.retires = { s1: SOON, s2: SOON };
    const onRetiring = vi.fn();
    const unary = using(["s1", { onRetiring }], (client) => client.unary(ABORT));
    await expect(unary).rejects.toMatchObject({ code: Code.Aborted });
    const stream = using(["s2", { onRetiring }], (client) => client.serverStream(ABORT));
    await expect(stream).rejects.toMatchObject({ code: Code.Aborted });
    expect(onRetiring.mock.calls).toEqual([[new Date(SOON)], [new Date(SOON)]]);
  });

  it.each(REPEATABLE)("is not called for a refused %s call", async (_, call) => {
    server.door.accepted = ["s2"];
    server.door.retires = { s1: SOON };
    const onRetiring = vi.fn();
    await using([sourceOf("s1", "s2"), { onRetiring }], call);
    expect(onRetiring).not.toHaveBeenCalled();
  });

  it.each(KINDS)("a %s call without a secret is not sent, and its error says what to do", async (_, call) => {
    const cause = new Error("what the vault said");
    const sources: [KeySource, RegExp][] = [
      [() => "two\nlines", /the function that returns the key returned no secret. Return one, and nothing else$/],
      [() => Promise.reject(cause), /the function that returns the key failed. Log its error and correct it$/],
      [fromFile("/nowhere/key"), /the key file \/nowhere\/key cannot be read \(ENOENT\)\. Put the secret there/],
    ];
    for (const [source, message] of sources) {
      const error = await using([source], call).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: Code.Unavailable, message: expect.stringMatching(message) });
      if (typeof source === "object") source.close();
    }
    expect(server.door.seen).toEqual([]);
  });

  it("a call waits for its secret neither beyond its deadline nor after its cancellation", async () => {
    const never = () => new Promise<string>(() => undefined);
    const late = using([never], (client) => client.unary("a", { deadlineMs: 50 }));
    await expect(late).rejects.toMatchObject({ code: Code.DeadlineExceeded });
    const cancelled = new AbortController();
    const call = using([never], (client) => client.unary("a", { signal: cancelled.signal }));
    cancelled.abort();
    await expect(call).rejects.toMatchObject({ code: Code.Canceled });
    let asked = 0;
    const hangsLater = () => (asked++ === 0 ? "s1" : never());
    const refused = using([hangsLater], (client) => client.unary("a", { deadlineMs: 500 }));
    await expect(refused).rejects.toMatchObject({ code: Code.DeadlineExceeded });
  });

  it("a stream delivers its headers before its first message", async () => {
    server.door.accepted = ["s2"];
    const events: string[] = [];
    await using([sourceOf("s2")], (client) =>
      client.serverStream("a", {
        onHeader: (letIn) => events.push(letIn()),
        onMessage: (value) => events.push(value),
      }),
    );
    expect(events).toEqual(["yes", "a 1", "a 2", "a 3"]);
  });

  it("a repeated stream ends with the headers of its second attempt", async () => {
    server.door.accepted = ["s2"];
    const headers: (() => string)[] = [];
    await using([sourceOf("s1", "s2")], (client) =>
      client.serverStream("a", { onHeader: (letIn) => headers.push(letIn) }),
    );
    expect(headers.at(-1)?.()).toEqual("yes");
  });

  it("many messages pass in both directions", async () => {
    server.door.accepted = ["s1"];
    const values = Array.from({ length: 500 }, (_, index) => `${index}`.repeat(100));
    await using(["s1"], async (client) => {
      expect(await client.bidi(values)).toEqual(values);
      expect(await client.clientStream(values)).toEqual(values.join(" "));
    });
  });

  describe("with a watched file", () => {
    let folder: string;
    let path: string;
    let file: KeyFile;
    beforeEach(async () => {
      folder = await mkdtemp(join(tmpdir(), "claviger-attach-key-"));
      path = join(folder, "key");
      await writeFile(path, "s1\n");
      // It is not looked at by itself as long as a test takes.
      file = fromFile(path, { everyMs: 1_000_000 });
      return async () => {
        file.close();
        await rm(folder, { recursive: true });
      };
    });

    async function replace(secret: string): Promise<void> {
      await writeFile(`${path}.new`, `${secret}\n`);
      await rename(`${path}.new`, path);
      server.door.accepted = [secret];
    }

    it.each(KINDS)(
      "no %s call fails after the file was replaced and the old secret has ended",
      async (_, call, answer) => {
        server.door.accepted = ["s1"];
        await using([file], async (client) => {
          expect(await call(client)).toEqual(answer);
          await replace("s2");
          expect(await call(client)).toEqual(answer);
          expect(await call(client)).toEqual(answer);
        });
        expect(server.door.seen.slice(-1)).toEqual(["Bearer s2"]);
      },
    );

    it.each(KINDS)("control: without another read of the file, a %s call fails", async (_, call, answer) => {
      server.door.accepted = ["s1"];
      const remembered = async () => (await file.current()).reveal();
      await using([remembered], async (client) => {
        expect(await call(client)).toEqual(answer);
        await replace("s2");
        await expect(call(client)).rejects.toMatchObject({ code: Code.Unauthenticated });
      });
    });
  });
});
