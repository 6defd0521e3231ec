import { afterAll, expect, it } from "vitest";
import { describeOnEachStorage } from "../../testkit/claviger.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { createTestUsers } from "../../testkit/test-users.ts";
import { makeKey } from "./make-key.ts";

const users = createTestUsers();
afterAll(() => users.remove());

const BURST = 5;

describeOnEachStorage(
  "A user who changes keys too often",
  (claviger) => {
    const as = (user: string) => claviger().as(users.token(user));

    it("is refused what leaves rows, told when to retry, and revokes, retires and reads all the same", async () => {
      const eve = as("eve");
      const made = await makeKey(eve, { owner: "" });
      for (let change = 1; change < BURST; change++) await eve.keys.rotateKey({ keyId: made.id, gracePeriod: {} });
      const rename = { key: { id: made.id, displayName: "x" }, updateMask: { paths: ["display_name"] } };
      const changes = [
        () => makeKey(eve, { owner: "" }),
        () => eve.keys.rotateKey({ keyId: made.id }),
        () => eve.keys.updateKey(rename),
      ];
      for (const change of changes) {
        const refusal = await refusalOf(change());
        expect(refusal).toMatchObject({
          code: "ResourceExhausted",
          reason: "CALLER_RATE_EXCEEDED",
          hasRetryInfo: true,
        });
        expect(refusal.metadata).toMatchObject({
          per_hour: "1",
          burst: "5",
          retry_after_ms: expect.stringMatching(/^\d+$/),
        });
      }
      expect((await eve.keys.listKeys({})).keys).toHaveLength(1);
      for (let turn = 0; turn < BURST + 1; turn++) {
        await eve.keys.retireSecret({ keyId: made.id, version: BURST });
        await eve.keys.revokeKey({ keyId: made.id });
        await eve.keys.revokeKeys({ owner: "acme:eve" });
      }
      await makeKey(as("ada"), { owner: "" });
      for (let turn = 0; turn < BURST + 1; turn++) await makeKey(claviger().admin, { owner: `other-${turn}` });
    });
  },
  { ...users.settings, CLAVIGER_POLICY: JSON.stringify({ manage: { userChangesPerHour: 1, userChangeBurst: BURST } }) },
);
