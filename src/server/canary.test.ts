import { describe, expect, it } from "vitest";
import { Canary } from "./canary.ts";

function canaryOn(nodes: Readonly<Record<string, "obeys" | "deaf" | "away">>) {
  const revoked = new Set<string>();
  let made = 0;
  const canary = new Canary({
    create: async () => ({ keyId: `key_${++made}`, secret: `secret_${made}` }),
    revoke: async (keyId) => void revoked.add(keyId.replace("key", "secret")),
    isAccepted: async (node, secret) => {
      if (nodes[node] === "away") throw new Error("away");
      return nodes[node] === "deaf" || !revoked.has(secret);
    },
    monotonicMs: () => 0,
  });
  return { canary, round: () => canary.round(Object.keys(nodes)) };
}

describe("a round of the canary", () => {
  it("finds nothing where every node obeys", async () => {
    const { canary, round } = canaryOn({ a: "obeys", b: "obeys" });
    expect(await round()).toMatchObject({ stillAccepting: [], undecided: [] });
    expect(canary).toMatchObject({ rounds: 1, undecided: 0, revokedButAccepted: 0 });
  });

  it("counts a node that accepts the key after it was revoked", async () => {
    const { canary, round } = canaryOn({ a: "obeys", b: "deaf" });
    expect(await round()).toMatchObject({ stillAccepting: ["b"] });
    expect(canary.revokedButAccepted).toBe(1);
  });

  it("does not count a node that cannot be asked as one that accepts", async () => {
    const { canary, round } = canaryOn({ a: "away", b: "obeys" });
    expect(await round()).toMatchObject({ stillAccepting: [], undecided: ["a"] });
    expect(canary).toMatchObject({ undecided: 1, revokedButAccepted: 0 });
  });
});
