import { describe, expect, test } from "vitest";
import { KeyVerifier } from "#gen/claviger/v1/key_verifier_pb.js";
import { ANY_KEY, accessByPath, accessOf, createMethodReader } from "./access.ts";

describe("the requirements of a method", () => {
  test("are any good key by default", () => {
    expect(accessOf(KeyVerifier.method.verify)).toEqual(ANY_KEY);
    expect(accessByPath([KeyVerifier]).get("/claviger.v1.KeyVerifier/Verify")).toEqual(ANY_KEY);
  });

  test("are read once", () => {
    const read = createMethodReader();
    const first = read(KeyVerifier.method.verify);
    expect(first.path).toBe("/claviger.v1.KeyVerifier/Verify");
    expect(read(KeyVerifier.method.verify).access()).toBe(first.access());
    expect(read(KeyVerifier.method.batchVerify)).not.toBe(first);
  });
});
