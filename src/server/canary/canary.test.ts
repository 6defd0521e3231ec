import { describe, expect, it } from "vitest";
import { Canary, type CanaryPorts } from "./canary.ts";

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

  it("does not take a node that refuses the key from the start for one that obeys", async () => {
    const canary = new Canary({ ...ports(), isAccepted: async () => false });
    expect(await canary.round(["a"])).toMatchObject({ reached: ["a"], undecided: ["a"], stillAccepting: [] });
  });

  it("goes on after a revocation whose answer was lost, once a second one is confirmed", async () => {
    let attempts = 0;
    const revoke = async () => {
      attempts += 1;
      if (attempts === 1) throw new Error("lost");
    };
    const canary = new Canary({ ...ports(), revoke, isAccepted: async () => attempts < 2 });
    expect(await canary.round(["a"])).toMatchObject({ stillAccepting: [], undecided: [] });
  });

  it("that cannot revoke its key is undecided, accepts nothing, and leaves the key to the next", async () => {
    const revoked: string[] = [];
    let away = true;
    const revoke = async (keyId: string) => {
      if (away) throw new Error("away");
      revoked.push(keyId);
    };
    const canary = new Canary({ ...ports(), revoke, isAccepted: async () => away });
    await expect(canary.round(["a"])).rejects.toThrow("away");
    expect(canary).toMatchObject({ rounds: 1, undecided: 1, revokedButAccepted: 0 });
    away = false;
    await canary.revokeLeft();
    await canary.revokeLeft();
    expect(revoked).toEqual(["key_1"]);
  });

  it.each([
    ["there is no node", async () => []],
    ["unreadable", () => Promise.reject(new Error("unreadable"))],
  ])("is undecided, and makes no key, when %s", async (message, nodes) => {
    const canary = new Canary({ ...ports(), create: () => Promise.reject(new Error("made a key")) });
    await expect(canary.round(nodes())).rejects.toThrow(message);
    expect(canary).toMatchObject({ rounds: 1, undecided: 1 });
  });
});

/** Where everything is granted. */
function ports(): CanaryPorts {
  return {
    create: async () => ({ keyId: "key_1", secret: "secret_1" }),
    revoke: async () => undefined,
    isAccepted: async () => true,
    monotonicMs: () => 0,
  };
}
