import { createServer } from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { expect, it, onTestFinished } from "vitest";
import { KeyVerifier, Verdict, VerifyRequestSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { systemClocks } from "../../system/node.ts";
import { AnyServer } from "./any-server.ts";

it("the server that could decide is asked first until it cannot decide", async () => {
  const asked: string[] = [];
  const away = new Set(["one"]);
  const serve = async (name: string) => {
    const verify = () => {
      asked.push(name);
      if (away.has(name)) throw new ConnectError("away", Code.Unavailable);
      return { verdict: Verdict.UNKNOWN };
    };
    const server = createServer(connectNodeAdapter({ routes: (router) => router.service(KeyVerifier, { verify }) }));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void server.close());
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  };
  const urls = await Promise.all(["one", "two"].map(serve));
  const servers = new AnyServer(urls, { interceptors: [], nodeOptions: undefined, clocks: systemClocks });
  onTestFinished(() => servers.close());
  const verify = async () => {
    expect((await servers.verify(create(VerifyRequestSchema, { secret: "s" }), 60_000)).verdict).toBe(Verdict.UNKNOWN);
    return asked.splice(0);
  };
  expect(await verify()).toEqual(["one", "two"]);
  away.clear();
  expect(await verify()).toEqual(["two"]);
  away.add("two");
  expect(await verify()).toEqual(["two", "one"]);
  expect(await verify()).toEqual(["one"]);
});

it("a server that closes the connection during a call is skipped, and alone causes UNAVAILABLE", async () => {
  let calls = 0;
  let socket: Socket | undefined;
  const closing = createServer();
  closing.on("connection", (connected: Socket) => {
    socket = connected;
  });
  closing.on("stream", () => {
    calls += 1;
    socket?.destroy();
  });
  closing.on("sessionError", () => undefined);
  const verify = () => ({ verdict: Verdict.UNKNOWN });
  const steady = createServer(connectNodeAdapter({ routes: (router) => router.service(KeyVerifier, { verify }) }));
  const [first = "", second = ""] = await Promise.all(
    [closing, steady].map(async (server) => {
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      onTestFinished(() => void server.close());
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    }),
  );
  const ask = async (urls: readonly string[]) => {
    const servers = new AnyServer(urls, { interceptors: [], nodeOptions: undefined, clocks: systemClocks });
    onTestFinished(() => servers.close());
    return servers.verify(create(VerifyRequestSchema, { secret: "s" }), 10_000);
  };
  expect((await ask([first, second])).verdict).toBe(Verdict.UNKNOWN);
  expect(calls).toBe(1);
  await expect(ask([first])).rejects.toMatchObject({ code: Code.Unavailable });
});
