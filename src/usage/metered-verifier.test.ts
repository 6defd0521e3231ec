import { describe, expect, it } from "vitest";
import { fakeCached } from "../../testkit/fakes/fake-found.ts";
import type { Charged } from "../keys/limits.ts";
import type { Verification } from "../verify/verifier.ts";
import { Charges } from "./charges.ts";
import { MeteredVerifier } from "./metered-verifier.ts";
import type { Use } from "./recorder.ts";

const limits = { requestsPerSecond: 0, burst: 0, requestsPerDay: 10 };
const asker = { callerId: "key_caller", lane: "router" } as const;
const nobody = { callerId: "", lane: "router" } as const;
const ask = { secret: "s", requiredScopes: [], clientIp: "", method: "/a.B/C", cost: 2 };

function valid(isLimited: boolean): Verification {
  const found = fakeCached("key_a", { key: { limits: isLimited ? limits : null } });
  return { decision: { verdict: "valid", missingScopes: [] }, found, freshness: "leased", revision: 1 };
}
const unknown: Verification = {
  ...valid(false),
  decision: { verdict: "unknown", missingScopes: [] },
  found: undefined,
};

function make(options: { answer: Verification; charged?: Charged | Error; onLimiterLoss?: "allow" | "deny" }) {
  const { answer, charged, onLimiterLoss = "allow" } = options;
  const uses: Use[] = [];
  const asked: number[] = [];
  const callers: unknown[] = [];
  const charges =
    charged === undefined
      ? undefined
      : new Charges({
          async charge({ costs }) {
            asked.push(...costs);
            if (charged instanceof Error) throw charged;
            return costs.map(() => charged);
          },
        });
  const verifier = {
    verifyCached: () => answer,
    verify: async () => answer,
    async verifyCaller(command: unknown) {
      callers.push(command);
      return answer;
    },
    verifyAll: async (commands: readonly unknown[]) => commands.map(() => answer),
  };
  const recorder = { record: (use: Use) => void uses.push(use) };
  return { metered: new MeteredVerifier({ verifier, charges, recorder, onLimiterLoss }), uses, asked, callers };
}

describe("a metered verifier", () => {
  it("counts what was valid under its key, with its cost, and asks no limiter for a key without limits", async () => {
    const { metered, uses, asked } = make({ answer: valid(false), charged: { outcome: "charged" } });
    await metered.verify(ask, asker);
    expect(uses).toEqual([{ keyId: "key_a", callerId: "", version: 1, verdict: "valid", method: "/a.B/C", cost: 2 }]);
    expect(asked).toEqual([]);
  });

  it("answers from memory what is there, and counts it; not what a limiter must be asked about", () => {
    const { metered, uses } = make({ answer: valid(false) });
    expect(metered.verifyCached(ask, { callerId: "", lane: "fast" })).toMatchObject({ decision: { verdict: "valid" } });
    expect([...metered.counters.verdicts.fast]).toEqual([["valid", 1]]);
    expect(uses).toHaveLength(1);
    const limited = make({ answer: valid(true), charged: { outcome: "charged" } });
    expect(limited.metered.verifyCached(ask, nobody)).toBeUndefined();
    expect(limited.uses).toEqual([]);
  });

  it("counts what was nobody's under the caller", async () => {
    const { metered, uses } = make({ answer: unknown });
    await metered.verify(ask, asker);
    expect(uses).toMatchObject([{ keyId: "", callerId: "key_caller", version: 0, verdict: "unknown", cost: 0 }]);
  });

  it("keeps nothing of what strangers name where anybody may ask", async () => {
    const { metered, uses } = make({ answer: unknown });
    await metered.verify(ask, nobody);
    expect(uses).toMatchObject([{ keyId: "", callerId: "", method: "" }]);
  });

  it("denies what the limiter denies, says when to ask again, and counts it as that", async () => {
    const charged = { outcome: "rate_limited", retryAfterMs: 70 } as const;
    const { metered, uses, asked } = make({ answer: valid(true), charged });
    expect(await metered.verify(ask, nobody)).toMatchObject({
      decision: { verdict: "rate_limited" },
      retryAfterMs: 70,
    });
    expect(asked).toEqual([2]);
    expect(uses).toMatchObject([{ keyId: "key_a", verdict: "rate_limited", cost: 0 }]);
    expect([...metered.counters.verdicts.router]).toEqual([["rate_limited", 1]]);
  });

  it("charges nothing for a denial", async () => {
    const answer = { ...valid(true), decision: { verdict: "revoked", missingScopes: [] } } as const;
    const { metered, asked } = make({ answer, charged: { outcome: "charged" } });
    await metered.verify(ask, nobody);
    expect(asked).toEqual([]);
  });

  it.each([new Error("away"), undefined])(
    "lets through and counts what cannot be charged, where so told (%s)",
    async (charged) => {
      const { metered, uses } = make({ answer: valid(true), ...(charged === undefined ? {} : { charged }) });
      expect(await metered.verify(ask, nobody)).toMatchObject({ decision: { verdict: "valid" } });
      expect(metered.counters.allowedUncharged).toBe(1);
      expect(uses).toMatchObject([{ verdict: "valid" }]);
    },
  );

  it("cannot decide what cannot be charged, where so told, and counts nothing", async () => {
    const { metered, uses } = make({ answer: valid(true), charged: new Error("away"), onLimiterLoss: "deny" });
    await expect(metered.verify(ask, nobody)).rejects.toMatchObject({ reason: "LIMITER_UNAVAILABLE" });
    await expect(metered.verifyAll([ask, ask], nobody)).rejects.toMatchObject({ reason: "LIMITER_UNAVAILABLE" });
    expect(uses).toEqual([]);
  });

  it("charges a batch together, and counts each of it", async () => {
    const { metered, uses, asked } = make({ answer: valid(true), charged: { outcome: "charged" } });
    expect(await metered.verifyAll([ask, { ...ask, cost: 0 }], nobody)).toHaveLength(2);
    expect([asked, uses.length]).toEqual([[2, 0], 2]);
  });

  it("takes a stranger's word for the method of a good secret, and for none of a dead one", async () => {
    const dead = fakeCached("key_a", { key: { disabled: true } });
    const answer = { ...valid(false), found: dead, decision: { verdict: "disabled", missingScopes: [] } } as const;
    for (const [given, named] of [
      [answer, ""],
      [valid(false), "/a.B/C"],
    ] as const) {
      const { metered, uses } = make({ answer: given });
      await metered.verify(ask, nobody);
      metered.verifyCached(ask, nobody);
      await metered.verify(ask, asker);
      expect(uses.map(({ method }) => method)).toEqual([named, named, "/a.B/C"]);
    }
  });

  it("counts a caller's own key under the method of Claviger that it called, and nothing for a stranger", async () => {
    const { metered, uses, callers } = make({ answer: valid(true) });
    await metered.verifyCaller(ask, "claviger.v1.KeyVerifier/Verify");
    expect(callers).toEqual([ask]);
    expect(uses).toMatchObject([{ keyId: "key_a", method: "/claviger.v1.KeyVerifier/Verify", cost: 0 }]);
    const stranger = make({ answer: unknown });
    await stranger.metered.verifyCaller(ask, "claviger.v1.KeyVerifier/Verify");
    expect(stranger.uses).toEqual([]);
  });
});
