import { expect, it } from "vitest";
import { nameProcesses } from "./process-name.ts";

const at = (address: string, epoch: string) => ({ address, epoch });

it("processes are called by their address where that is theirs alone, and by their epoch too where it may be another's", () => {
  expect(
    nameProcesses([
      at("http://10.0.0.1:4640", "a"),
      at("http://10.0.0.2:4640", "b"),
      at("http://10.0.0.2:4640", "c"),
      at("http://0.0.0.0:4640", "d"),
      at("http://[::]:1", "e"),
      at("http://[::1]:1", "f"),
    ]),
  ).toEqual([
    "http://10.0.0.1:4640",
    "http://10.0.0.2:4640#b",
    "http://10.0.0.2:4640#c",
    "http://0.0.0.0:4640#d",
    "http://[::]:1#e",
    "http://[::1]:1",
  ]);
});
