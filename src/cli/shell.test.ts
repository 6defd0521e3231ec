import { describe, expect, it } from "vitest";
import { stopSignal } from "./shell.ts";

function start() {
  const exits: number[] = [];
  let milliseconds = 0;
  let signal = () => {};
  const stopped = stopSignal({
    now: () => new Date(milliseconds),
    exit: (code) => exits.push(code),
    onStopSignal: (listener) => {
      signal = listener;
    },
  });
  const signalAt = (at: number) => {
    milliseconds = at;
    signal();
  };
  return { exits, stopped, signalAt };
}

describe("a stop signal", () => {
  it("asks for a stop, and exits nothing", async () => {
    const { exits, stopped, signalAt } = start();
    signalAt(1_000);
    await expect(stopped).resolves.toBeUndefined();
    expect(exits).toEqual([]);
  });

  it("that is the echo of the first does nothing", () => {
    const { exits, signalAt } = start();
    for (const at of [1_000, 1_001, 1_250]) signalAt(at);
    expect(exits).toEqual([]);
  });

  it("that comes again exits with 1 at once", () => {
    const { exits, signalAt } = start();
    for (const at of [1_000, 1_251]) signalAt(at);
    expect(exits).toEqual([1]);
  });
});
