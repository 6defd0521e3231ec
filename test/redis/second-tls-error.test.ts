import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { makeCertificates, type TestCertificates } from "../../testkit/certificates.ts";
import { describeWithOpenssl, describeWithRedis } from "../../testkit/describe-with.ts";
import { mutate } from "../../testkit/mutation.ts";
import { type RedisServer, startRedisServer } from "../../testkit/redis-server.ts";
import { runProgram } from "../../testkit/run-program.ts";

/** A client that does not know the CA, and is closed in the middle of each handshake. */
const CLIENT = `
  const { connectRedis } = await import(process.argv[1]);
  for (let at = 0; at < 20; at++) {
    const address = { kind: "standalone", url: process.argv[2] };
    const connection = connectRedis({ address, commandTimeoutMs: 500 });
    setTimeout(() => connection.disconnect(), 30);
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
  process.exit(0);
`;

describeWithRedis("a connection to Redis over TLS", () => {
  describeWithOpenssl("with a CA that is not known", () => {
    let certificates: TestCertificates;
    let redis: RedisServer;
    let proxy: { readonly url: string; close(): void };

    beforeAll(async () => {
      certificates = await makeCertificates();
      redis = await startRedisServer({ tls: certificates });
      proxy = await startHoldingProxy(redis.port);
    });
    afterAll(async () => {
      proxy?.close();
      await redis?.stop();
      certificates?.remove();
    });

    const run = (env: Readonly<Record<string, string>>) => {
      const module = new URL("../../src/redis/connect-redis.ts", import.meta.url).href;
      return runProgram(process.execPath, ["--input-type=module", "-e", CLIENT, module, proxy.url], { env });
    };

    it("outlives an alert that comes with the certificate which it refuses", async () => {
      expect(await run({})).toMatchObject({ code: 0, stderr: "" });
    });

    it("control: without a lasting listener the alert ends the process", async () => {
      const withoutListener = mutate({
        file: "src/redis/connect-redis.ts",
        find: "signal: new AbortController().signal",
        replace: "signal: undefined as never",
      });
      expect((await run(withoutListener)).stderr).toContain("SSL alert number");
    });
  });
});

/** Holds back what the server says until a while after the client has ended its half. */
async function startHoldingProxy(port: number): Promise<{ readonly url: string; close(): void }> {
  const proxy = createServer({ allowHalfOpen: true }, (client) => {
    const server = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    const held: Buffer[] = [];
    server.on("data", (bytes: Buffer) => held.push(bytes));
    client.on("data", (bytes) => server.write(bytes));
    client.on("end", async () => {
      server.end();
      await sleep(15);
      client.end(Buffer.concat(held));
    });
    for (const socket of [client, server]) socket.on("error", () => socket.destroy());
  }).listen(0, "127.0.0.1");
  await once(proxy, "listening");
  return {
    url: `rediss://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    close: () => void proxy.close(),
  };
}
