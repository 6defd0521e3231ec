import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { writeSecretForm } from "../../src/keys/secret-form.ts";
import { requireKey } from "../../src/sdk/http/index.ts";
import { createVerifier, type Verifier } from "../../src/sdk/index.ts";
import { type Act, KEY_ID, scripts, startHostileNode } from "./hostile-node.ts";

const TIMEOUT_MS = 400;
const SECRETS = Array.from({ length: 4 }, (_, at) => writeSecretForm("clv_live_", Buffer.alloc(32, at + 1)));
const CLIENT_IP = "10.1.2.3";
const OWN = writeSecretForm("clv_live_", Buffer.alloc(32, 99));

/** What would have ended the process. */
let deaths: unknown[];
const die = (error: unknown) => void deaths.push(error);
/** How often memory has let a key in: the scripts must reach that far. */
let letIn: number;
beforeEach(() => {
  deaths = [];
  letIn = 0;
  // What the functions of the application throw is told there.
  vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
  process.on("unhandledRejection", die).on("uncaughtException", die);
});
afterEach(() => {
  vi.restoreAllMocks();
  process.off("unhandledRejection", die).off("uncaughtException", die);
});

const thrower = () => {
  throw new Error("somebody else's");
};

/** A request that presents the secret at a protected service: how it ended. */
function request(verifier: Verifier, secret: string): Promise<number | "let in"> {
  const door = requireKey(verifier, { scopes: ["a"], clientIp: () => CLIENT_IP, onUndecided: async () => thrower() });
  return new Promise((resolve) => {
    const incoming = { headers: { authorization: `Bearer ${secret}` }, rawHeaders: [] };
    const response = { statusCode: 0, setHeader: () => undefined, end: () => resolve(response.statusCode) };
    door(incoming, response, () => resolve("let in"));
  });
}

/** Plays one script against one verifier. What memory says may only be what the node said that may be kept. */
async function play(script: readonly Act[]): Promise<void> {
  const node = await startHostileNode(script);
  const verifier = createVerifier({
    url: [node.url, node.url],
    token: OWN,
    timeoutMs: TIMEOUT_MS,
    reportEveryMs: 20,
    onBroken: thrower,
  });
  const lookAtMemory = () => {
    for (const secret of SECRETS) {
      const known = verifier.verifySync(secret, { scopes: ["a"], clientIp: CLIENT_IP });
      if (known !== "ask" && known.verdict === Verdict.VALID) {
        letIn += 1;
        expect(node.mayBeKept.has(secret), "memory lets in a key that no answer let in").toBe(true);
        expect(known.key?.id).toBe(KEY_ID);
      }
    }
  };
  try {
    // Time for a lease, which half of the scripts begin with.
    for (let looks = 0; looks < 50 && !verifier.fresh; looks++) await new Promise((done) => setTimeout(done, 10));
    for (let round = 0; round < 2; round++) {
      const asked = SECRETS.flatMap((secret) => [
        request(verifier, secret),
        verifier.verify(secret, { scopes: ["a"] }).catch((error: unknown) => error),
      ]);
      // Hangs, and fails by the time of the test, if one is never settled.
      const outcomes = await Promise.all(asked);
      for (const outcome of outcomes.filter((outcome) => typeof outcome === "number")) {
        expect([401, 403, 429, 500, 503]).toContain(outcome);
      }
      lookAtMemory();
    }
  } finally {
    await verifier.close();
    await node.close();
  }
}

describe("a node that sends arbitrary messages", () => {
  it("ends no process, lets no key in from memory, and leaves no question open", async () => {
    const thirty = fc.array(scripts, { minLength: 30, maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(thirty, async (all) => {
        await Promise.all(all.map(play));
        expect(deaths).toEqual([]);
      }),
      { numRuns: 6, endOnFailure: true },
    );
    expect(letIn).toBeGreaterThan(0);
  });

  it("causes no storm of streams by announcing a stop on each", async () => {
    const node = await startHostileNode([{ kind: "closing" }]);
    const verifier = createVerifier({ url: node.url, token: OWN });
    await new Promise((done) => setTimeout(done, 1500));
    await verifier.close();
    await node.close();
    // At once, then after pauses of 50 ms at least, each twice as long as the one before.
    expect(node.streams.count).toBeLessThan(12);
  });
});
