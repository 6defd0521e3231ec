/**
 * Forked with a server's address and a number: so many streams of `Sync` by hand, without what the SDK does around them.
 * Every one looks the secret up that it is sent, renews its lease, and acknowledges changes.
 */
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { SyncRequestSchema, type SyncResponse, SyncResponseSchema } from "#gen/claviger/v1/key_verifier_pb.js";

const [url = "", count = "1"] = process.argv.slice(2);
const PER_CONNECTION = 100;
const PREFIX = 5;
const HEADERS = {
  ...{ ":method": "POST", ":path": "/claviger.v1.KeyVerifier/Sync", te: "trailers" },
  ...{ "content-type": "application/grpc+proto", authorization: `Bearer ${process.env.CLAVIGER_TOKEN}` },
};

type Said = NonNullable<MessageInitShape<typeof SyncRequestSchema>["message"]>;

interface Agent {
  readonly say: (message: Said) => void;
  isLeased: boolean;
  isTold: boolean;
}

const agents: Agent[] = [];
let left = 0;
let onAll: () => void = () => undefined;
const one = () => {
  left -= 1;
  if (left === 0) onAll();
};
const forAll = (some: readonly Agent[], work: (agent: Agent) => void) =>
  new Promise<void>((resolve) => {
    [left, onAll] = [some.length, resolve];
    for (const agent of some) work(agent);
  });

function open(session: ClientHttp2Session): Agent {
  const stream = session.request(HEADERS, { endStream: false });
  const say = (message: Said) => stream.write(framed(message));
  const agent: Agent = { say, isLeased: false, isTold: false };
  read(stream, (message) => hear(agent, message));
  stream.on("error", (error) => process.send?.({ error: String(error) }));
  stream.on("end", () => process.send?.({ error: "a stream ended" }));
  return agent;
}

function hear(agent: Agent, message: SyncResponse["message"]): void {
  if (message.case === "lease") {
    const ms = message.value.remaining === undefined ? 0 : durationMs(message.value.remaining);
    setTimeout(() => agent.say({ case: "lease", value: { nonce: message.value.nonce + 1n } }), Math.max(100, ms * 0.6));
    if (ms > 0 && !agent.isLeased) {
      agent.isLeased = true;
      one();
    }
  } else if (message.case === "change") {
    agent.say({ case: "applied", value: { sequence: message.value.sequence } });
    agent.isTold = true;
  } else if (message.case === "answer") {
    if (message.value.entry === undefined) process.send?.({ error: "nothing to keep" });
    one();
  }
}

function framed(message: Said): Buffer {
  const bytes = toBinary(SyncRequestSchema, create(SyncRequestSchema, { message }));
  const frame = Buffer.alloc(PREFIX + bytes.length);
  frame.writeUInt32BE(bytes.length, 1);
  frame.set(bytes, PREFIX);
  return frame;
}

function read(stream: ClientHttp2Stream, onMessage: (message: SyncResponse["message"]) => void): void {
  let rest: Buffer = Buffer.alloc(0);
  stream.on("data", (chunk: Buffer) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (;;) {
      const size = rest.length < PREFIX ? Number.POSITIVE_INFINITY : PREFIX + rest.readUInt32BE(1);
      if (rest.length < size) return;
      onMessage(fromBinary(SyncResponseSchema, rest.subarray(PREFIX, size)).message);
      rest = rest.subarray(size);
    }
  });
}

// A connection after the other, as agents come: a server refuses a crowd that comes all at once.
for (let at = 0; at < Number(count); at += PER_CONNECTION) {
  const session = connect(url);
  const most = Math.min(PER_CONNECTION, Number(count) - at);
  const opened = Array.from({ length: most }, () => open(session));
  await forAll(opened, (agent) => agent.say({ case: "lease", value: { nonce: 1n } }));
  agents.push(...opened);
}
process.send?.("leased");
process.on("message", async (secret: string) => {
  for (const agent of agents) agent.isTold = false;
  // Not all at once: that is another question, of which a server refuses what it cannot answer in time.
  for (let at = 0; at < agents.length; at += PER_CONNECTION) {
    const some = agents.slice(at, at + PER_CONNECTION);
    await forAll(some, (agent) => agent.say({ case: "ask", value: { id: 1n, request: { secret } } }));
  }
  process.send?.("known");
});
process.on("disconnect", () => process.exit());
