import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { expect, it, onTestFinished } from "vitest";
import { createVerifier } from "../../src/sdk/index.ts";
import { eventually } from "../../testkit/eventually.ts";
import { FLAG, frame, greeting, headerBlock, TYPE } from "../../testkit/http2-frames.ts";
import { PATHS } from "../clients/connection-plan.ts";
import { type OwnServer, startOwnServer } from "../clients/own-server.ts";

const EVERY_MS = 300;
/** Longer than the longest wait here. */
const LIFE_MS = 4000;
const ROUNDS = 4;
const LOOKS = 10;

/** One call whose body is longer than it says. */
const WRONG_LENGTH = Buffer.concat([
  greeting(),
  frame(
    ...([TYPE.headers, FLAG.endHeaders, 1] as const),
    headerBlock({
      ...{ ":method": "POST", ":scheme": "http", ":authority": "x", ":path": PATHS.verify },
      ...{ "content-type": "application/grpc", "content-length": "9" },
    }),
  ),
  frame(TYPE.data, FLAG.endStream, 1, Buffer.alloc(20)),
]);
/** Empty frames, more than a connection may send beside calls. */
const FLOOD = Buffer.concat([greeting(), ...Array.from({ length: 20_000 }, () => frame(TYPE.settings, FLAG.none, 0))]);

/** A client of the same address that sends that on one connection after the other. */
function attack({ port }: OwnServer, bytes: Buffer, everyMs = EVERY_MS): void {
  const timer = setInterval(() => {
    const socket = connectTcp({ host: "127.0.0.1", port });
    socket.on("error", () => undefined).resume();
    socket.write(bytes);
    void once(socket, "close").catch(() => undefined);
    setTimeout(() => socket.destroy(), LIFE_MS);
  }, everyMs);
  onTestFinished(() => clearInterval(timer));
}

/** How often a new verifier was fresh, of so many looks after it had time to attach. */
async function freshLooks(server: OwnServer, withinMs: number): Promise<number> {
  const verifier = createVerifier({ url: server.url, token: server.token });
  onTestFinished(() => verifier.close());
  let looks = 0;
  await eventually(() => expect(verifier.fresh).toBe(true), { withinMs }).catch(() => undefined);
  for (let look = 0; look < LOOKS; look++) {
    if (verifier.fresh) looks += 1;
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
  return looks;
}

it.each([
  ["sends bodies of a wrong length", WRONG_LENGTH],
  ["floods", FLOOD],
])("a verifier attaches, and stays fresh, at an address from which a client %s", async (_, bytes) => {
  const server = await startOwnServer();
  attack(server, bytes);
  for (let round = 0; round < ROUNDS; round++) expect(await freshLooks(server, 30_000)).toBeGreaterThan(LOOKS / 2);
});
