import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { type Clients, describeOnEachStorage } from "../support/claviger.ts";
import { refusalOf } from "../support/refusal.ts";
import { makeKey } from "./make-key.ts";

const [startTime, endTime] = [timestampFromMs(0), timestampFromMs(1)];

describeOnEachStorage("What is declared and not built yet", (claviger) => {
  it.each<[string, string, (keys: Clients["keys"], keyId: string) => Promise<unknown>]>([
    ["limits", "CreateKey", (keys) => keys.createKey({ displayName: "k", limits: {} })],
    [
      "limits",
      "UpdateKey",
      (keys, id) => keys.updateKey({ key: { id, limits: { burst: 1 } }, updateMask: { paths: ["limits"] } }),
    ],
    ["unused_since", "ListKeys", (keys) => keys.listKeys({ unusedSince: startTime })],
  ])("is refused when it is set, and changes nothing: %s in %s", async (field, method, call) => {
    const { admin } = claviger();
    const { id, key } = await makeKey(admin, { owner: `unbuilt-${field}-${method}` });
    expect(await refusalOf(call(admin.keys, id))).toMatchObject({
      code: "Unimplemented",
      reason: "NOT_IMPLEMENTED",
      domain: "claviger",
      metadata: { field },
    });
    expect((await admin.keys.getKey({ keyId: id })).key).toEqual(key);
  });

  it("is refused: QueryUsage", async () => {
    expect(await refusalOf(claviger().admin.keys.queryUsage({ startTime, endTime }))).toMatchObject({
      code: "Unimplemented",
      reason: "NOT_IMPLEMENTED",
      domain: "claviger",
      metadata: { method: "QueryUsage" },
    });
  });

  it("is judged after the rules: what could never be right is INVALID_ARGUMENT", async () => {
    const { keys } = claviger().admin;
    const calls: [() => Promise<unknown>, string][] = [
      [() => keys.createKey({ displayName: "k", limits: { requestsPerSecond: -1 } }), "limits.requests_per_second"],
      [() => keys.queryUsage({}), "start_time"],
    ];
    for (const [call, field] of calls) {
      const refusal = await refusalOf(call());
      expect(refusal).toMatchObject({ code: "InvalidArgument", reason: "INVALID_FIELD" });
      expect(refusal.fields).toContain(field);
    }
  });
});
