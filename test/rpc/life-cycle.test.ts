import { afterAll, expect, it } from "vitest";
import { ActorKind } from "#gen/claviger/v1/key_pb.js";
import { describeOnEachStorage } from "../../testkit/claviger.ts";
import { ADMIN_CLAIMS, createTestUsers } from "../../testkit/test-users.ts";
import { LIFE } from "./life-cycle.ts";
import { makeKey } from "./make-key.ts";
import { verdictOf } from "./verdict-of.ts";

const users = createTestUsers();
afterAll(() => users.remove());

/** Scopes of a service that looks after keys. */
const KEEPER = ["claviger:verify", "claviger:keys.read", "claviger:keys.write", "claviger:keys.revoke"];

interface Leader {
  readonly token: string;
  /** Whose key it leads: a user's own, or that of somebody else. */
  readonly owner: string;
  readonly actor: { readonly kind: ActorKind; readonly subject: string; readonly keyId: string };
}

describeOnEachStorage(
  "The life of a key is the same",
  (claviger) => {
    const service = async (owner: string, scopes: string[]): Promise<Leader> => {
      const { id: keyId, secret: token, key } = await makeKey(claviger().admin, { owner, scopes });
      return { token, owner: `led by ${owner}`, actor: { kind: ActorKind.SERVICE, subject: key.owner, keyId } };
    };
    const user = (subject: string, owner: string, claims = {}): Leader => {
      const actor = { kind: ActorKind.USER, subject: `acme:${subject}`, keyId: "" };
      return { token: users.token(subject, { claims }), owner, actor };
    };

    it.each<[string, () => Leader | Promise<Leader>]>([
      ["an admin key", () => service("life-admin", ["claviger:*"])],
      ["a service that looks after keys", () => service("life-keeper", KEEPER)],
      ["its user", () => user("ada", "acme:ada")],
      ["a user who is an administrator", () => user("root", "acme:grace", ADMIN_CLAIMS)],
    ])("led by %s", async (_, makeLeader) => {
      const { admin, as } = claviger();
      const { token, owner, actor } = await makeLeader();
      const by = as(token);
      const minted: string[] = [];
      let keyId = "";
      for (const { name, act, state, secrets, verdicts } of LIFE) {
        const { key, secret } = await act({ by, owner, keyId });
        keyId = key?.id ?? "";
        if (secret !== undefined) minted.push(secret);
        expect(key, name).toMatchObject({ id: keyId, owner, state, createdBy: actor });
        expect(
          key?.secrets.map((version) => version.state),
          name,
        ).toEqual(secrets);
        expect((await admin.keys.getKey({ keyId })).key, name).toEqual(key);
        expect(await Promise.all(minted.map((one) => verdictOf(admin, one))), name).toEqual(verdicts);
      }
      expect((await admin.keys.getKey({ keyId })).key?.revokedBy).toMatchObject(actor);
      const { events } = await admin.keys.listAuditEvents({ keyId });
      const actions = LIFE.flatMap(({ action }) => (action === undefined ? [] : [action]));
      expect(events.toReversed().map(({ action }) => action)).toEqual(actions);
      for (const event of events) expect(event).toMatchObject({ owner, actor });
    });
  },
  users.settings,
);
