import { Code, ConnectError } from "@connectrpc/connect";
import { expect, it } from "vitest";
import { Outgoing } from "./outgoing.ts";

const tooFull = () => new ConnectError("read faster", Code.ResourceExhausted);

async function read(outgoing: Outgoing<number>): Promise<{ numbers: number[]; error: unknown }> {
  const numbers: number[] = [];
  try {
    for await (const number of outgoing) numbers.push(number);
    return { numbers, error: undefined };
  } catch (error) {
    return { numbers, error };
  }
}

it("says in order what was pushed before and while it is read, and ends after the last", async () => {
  const outgoing = new Outgoing<number>(10, tooFull);
  outgoing.push(1);
  outgoing.push(2);
  const reading = read(outgoing);
  await new Promise(setImmediate);
  outgoing.push(3);
  outgoing.end();
  outgoing.push(4);
  expect(await reading).toEqual({ numbers: [1, 2, 3], error: undefined });
});

it("ends with the error, after what waits, and only with the first", async () => {
  const outgoing = new Outgoing<number>(10, tooFull);
  outgoing.push(1);
  outgoing.end(new ConnectError("gone", Code.Unavailable));
  outgoing.end();
  expect(await read(outgoing)).toMatchObject({ numbers: [1], error: { code: Code.Unavailable } });
});

it("keeps no more than it may for whoever does not read, and ends the stream", async () => {
  const outgoing = new Outgoing<number>(3, tooFull);
  for (let number = 0; number < 100; number++) outgoing.push(number);
  expect(await read(outgoing)).toMatchObject({ numbers: [], error: { code: Code.ResourceExhausted } });
});

it("lets a writer wait until half of what may wait is read", async () => {
  const outgoing = new Outgoing<number>(4, tooFull);
  for (const number of [1, 2, 3]) outgoing.push(number);
  let hasRoom = false;
  const waiting = outgoing.hasRoom().then(() => {
    hasRoom = true;
  });
  await new Promise(setImmediate);
  expect(hasRoom).toBe(false);
  const reading = read(outgoing);
  await waiting;
  outgoing.end();
  expect((await reading).numbers).toEqual([1, 2, 3]);
});
