import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { writeSecretForm } from "../../keys/secret-form.ts";
import { createListener } from "./listener.ts";

const SECRET = writeSecretForm("clv_live_", Buffer.alloc(32, 1));
let warnings: string[];

beforeEach(() => {
  warnings = [];
  vi.spyOn(process, "emitWarning").mockImplementation((warning) => void warnings.push(String(warning)));
});
afterEach(() => vi.restoreAllMocks());

describe("a function of the application that fails", () => {
  it.each<[string, () => unknown]>([
    [
      "throws",
      () => {
        throw new Error(`no ${SECRET}`);
      },
    ],
    ["rejects", () => Promise.reject(new Error(`no ${SECRET}`))],
    [
      "returns what cannot be waited for",
      () => ({
        // biome-ignore lint/suspicious/noThenProperty: it is what is tried
        then() {
          throw new Error(`no ${SECRET}`);
        },
      }),
    ],
  ])("%s: causes one warning, which names the function and no secret", async (_, fail) => {
    const tell = createListener("onUndecided", fail);
    for (let turn = 0; turn < 3; turn++) expect(tell("event")).toBeUndefined();
    await new Promise((done) => setImmediate(done));
    expect(warnings).toEqual(["onUndecided failed: Error: no clv_live_[redacted]. Catch errors inside onUndecided"]);
  });

  it("gets the event, and its result is ignored", () => {
    const events: string[] = [];
    createListener<string>("onBroken", (event) => events.push(event))("broke");
    expect([events, warnings]).toEqual([["broke"], []]);
  });
});
