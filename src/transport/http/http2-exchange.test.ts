import { expect, test } from "vitest";
import { openConnection } from "../../../testkit/http2-connection.ts";
import { CALL, dataFrame, headersFrame, type RawHttp2 } from "../../../testkit/raw-http2.ts";
import { Http2Exchange } from "./http2-exchange.ts";

/** More than may come unpaid on one connection, and less than the window of a stream. */
const MESSAGES = 3000;
const PREFIX = Buffer.from([0, 0, 0, 0, 1]);
const MESSAGE = Buffer.from([7]);

async function open(type: string) {
  const exchanges: Http2Exchange[] = [];
  const { client } = await openConnection((stream) => void exchanges.push(new Http2Exchange(stream)));
  client.greet().send(headersFrame(1, { fields: { ...CALL, "content-type": type } }));
  await client.reached();
  const [exchange] = exchanges;
  if (exchange === undefined) throw new Error("no stream was opened");
  return { client, exchange };
}

async function sendApart(client: RawHttp2): Promise<void> {
  client.send(...Array.from({ length: MESSAGES }, () => [dataFrame(1, PREFIX), dataFrame(1, MESSAGE)]).flat());
  await client.reached();
}

test("messages whose prefix comes apart pay for their pieces, though nothing listens to them yet", async () => {
  const { client, exchange } = await open("application/grpc+proto");
  await sendApart(client);
  expect(client.goaways).toEqual([]);
  let messages = 0;
  exchange.listen({
    piece: (_, ends) => {
      messages += ends.length;
    },
    ended: () => undefined,
    failed: () => undefined,
  });
  expect(messages).toBe(MESSAGES);
});

test("control: pieces of a body without messages pay for nothing", async () => {
  const { client } = await open("application/json");
  await sendApart(client);
  expect(client.goaways).toEqual([expect.objectContaining({ message: expect.stringContaining("tiny DATA frames") })]);
});

test("messages of a body that was dropped pay for nothing", async () => {
  const { client, exchange } = await open("application/grpc+proto");
  exchange.drop();
  await sendApart(client);
  expect(client.goaways).toEqual([expect.objectContaining({ message: expect.stringContaining("tiny DATA frames") })]);
});
