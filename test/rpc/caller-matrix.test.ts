import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { KeyManagement } from "#gen/claviger/v1/key_management_pb.js";
import { KeyVerifier } from "#gen/claviger/v1/key_verifier_pb.js";
import { type Clients, describeOnEachStorage } from "../../testkit/claviger.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { ADMIN_CLAIMS, createTestUsers } from "../../testkit/test-users.ts";
import { ageKey } from "./age-key.ts";
import { changeKey } from "./change-key.ts";
import { forge, mistype } from "./forge.ts";
import { type MadeKey, makeKey, UNKNOWN_KEY_ID } from "./make-key.ts";

/**
 * Who may call what. `own`: for keys of their own owner; `any`: for all; `-`: never; `open`: without being asked who.
 * `none` stands for everybody whose credential is missing or not accepted, `nothing` for a good key without a scope of
 * Claviger.
 */
const TABLE = `
                    none  nothing  user  user-admin  verify  keys.read  keys.write  keys.revoke  usage.read  audit.read  nodes.read  admin
CreateKey           -     -        own   any         -       -          any         -            -           -           -           any
GetKey              -     -        own   any         -       any        -           -            -           -           -           any
ListKeys            -     -        own   any         -       any        -           -            -           -           -           any
UpdateKey           -     -        own   any         -       -          any         -            -           -           -           any
RotateKey           -     -        own   any         -       -          any         -            -           -           -           any
RetireSecret        -     -        own   any         -       -          -           any          -           -           -           any
RevokeKey           -     -        own   any         -       -          -           any          -           -           -           any
RevokeKeys          -     -        own   any         -       -          -           any          -           -           -           any
ReportLeakedSecret  open  open     open  open        open    open       open        open         open        open        open        open
QueryUsage          -     -        own   any         -       -          -           -            any         -           -           any
ListAuditEvents     -     -        own   any         -       -          -           -            -           any         -           any
ListNodes           -     -        -     any         -       -          -           -            -           -           any         any
Verify              -     -        -     any         any     -          -           -            -           -           -           any
BatchVerify         -     -        -     any         any     -          -           -            -           -           -           any
Sync                -     -        -     any         any     -          -           -            -           -           -           any
`;

/** The table's columns for callers whose credential is accepted. */
type Role = string;

/** Whose thing a call is about, seen from its caller. */
type Target = "own" | "foreign" | "unknown";
const TARGETS: readonly Target[] = ["own", "foreign", "unknown"];

/** What a call is about: one made for it, or one that nobody has. */
interface Subject {
  readonly owner: string;
  readonly id: string;
  readonly secret: string;
}

/** What a call names. That decides how another's thing, and one that is not there, are refused. */
type Naming = "key" | "owner" | "secret" | "nothing";

interface Method {
  readonly names: Naming;
  readonly call: (clients: Clients, subject: Subject, method: string) => Promise<unknown>;
}

const [startTime, endTime] = [timestampFromMs(Date.now() - 1), timestampFromMs(Date.now())];
const FOREIGN = "acme:grace";
const LABEL = "made_for";

const METHODS: Readonly<Record<string, Method>> = {
  CreateKey: { names: "owner", call: ({ keys }, { owner }) => keys.createKey({ owner, displayName: "k" }) },
  GetKey: { names: "key", call: ({ keys }, { id }) => keys.getKey({ keyId: id }) },
  ListKeys: { names: "owner", call: ({ keys }, { owner }) => keys.listKeys({ owner }) },
  UpdateKey: {
    names: "key",
    call: ({ keys }, { id }) =>
      keys.updateKey({ key: { id, displayName: "renamed" }, updateMask: { paths: ["display_name"] } }),
  },
  RotateKey: {
    names: "key",
    call: ({ keys }, { id }) => keys.rotateKey({ keyId: id, gracePeriod: durationFromMs(0) }),
  },
  RetireSecret: { names: "key", call: ({ keys }, { id }) => keys.retireSecret({ keyId: id, version: 1 }) },
  RevokeKey: { names: "key", call: ({ keys }, { id }) => keys.revokeKey({ keyId: id }) },
  RevokeKeys: {
    names: "owner",
    // By label too: without it a service would revoke itself on the way.
    call: ({ keys }, { owner }, method) => keys.revokeKeys({ owner, labelSelector: { [LABEL]: method } }),
  },
  ReportLeakedSecret: { names: "secret", call: ({ keys }, { secret }) => keys.reportLeakedSecret({ secret }) },
  QueryUsage: { names: "owner", call: ({ keys }, { owner }) => keys.queryUsage({ owner, startTime, endTime }) },
  ListAuditEvents: { names: "owner", call: ({ keys }, { owner }) => keys.listAuditEvents({ owner }) },
  ListNodes: { names: "nothing", call: ({ keys }) => keys.listNodes({}) },
  Verify: { names: "secret", call: ({ verifier }, { secret }) => verifier.verify({ secret }) },
  BatchVerify: {
    names: "secret",
    call: ({ verifier }, { secret }) => verifier.batchVerify({ requests: [{ secret }] }),
  },
  Sync: { names: "secret", call: ({ verifier }, { secret }) => askOnStream(verifier, secret) },
};

/** The first answer of a stream that is then given up. */
async function askOnStream(verifier: Clients["verifier"], secret: string): Promise<void> {
  const ask = { message: { case: "ask" as const, value: { id: 1n, request: { secret } } } };
  const asks = (async function* () {
    yield ask;
  })();
  for await (const _ of verifier.sync(asks)) return;
}

const ACCESS = parseTable(TABLE);
const ROLES = [...(ACCESS.get("GetKey")?.keys() ?? [])];

/** How each call of a caller of that role must end. */
function expectedOf(role: Role, refused = "Unauthenticated CREDENTIAL_MISSING"): Record<string, string> {
  return Object.fromEntries(
    [...ACCESS].flatMap(([method, row]) =>
      TARGETS.map((target) => {
        const access = row.get(role) ?? "-";
        const outcome = role === "none" && access === "-" ? refused : outcomeOf(method, access, target);
        return [`${method} ${target}`, outcome];
      }),
    ),
  );
}

function outcomeOf(method: string, access: string, target: Target): string {
  if (access === "-") return "PermissionDenied PERMISSION_DENIED";
  const names = METHODS[method]?.names;
  if (access === "own" && target !== "own" && names === "owner") return "PermissionDenied PERMISSION_DENIED";
  if (names === "key" && (target === "unknown" || (access === "own" && target === "foreign"))) {
    return "NotFound KEY_NOT_FOUND";
  }
  return "OK";
}

const users = createTestUsers();
afterAll(() => users.remove());

describe("the table of who may call what", () => {
  const declared = [...KeyManagement.methods, ...KeyVerifier.methods].map(({ name }) => name).sort();

  it("has every method of both services, and no other", () => {
    expect([...ACCESS.keys()].sort()).toEqual(declared);
    expect(Object.keys(METHODS).sort()).toEqual(declared);
  });

  it("says something of every method for every kind of caller", () => {
    for (const [method, row] of ACCESS) expect([...row.keys()], method).toEqual(ROLES);
  });
});

describeOnEachStorage(
  "Every method by every kind of caller, for what is its own, another's, and unknown",
  (claviger) => {
    const made = new Map<string, Promise<MadeKey>>();
    let unknown: Subject;

    beforeAll(async () => {
      const genuine = await makeKey(claviger().admin, { owner: FOREIGN });
      unknown = { owner: "acme:nobody", id: UNKNOWN_KEY_ID, secret: forge(genuine.secret) };
    });

    /** The key that calls of a method for an owner are about; one for all callers. */
    const keyFor = (method: string, owner: string): Promise<MadeKey> => {
      const place = `${method} ${owner}`;
      const key = made.get(place) ?? makeKey(claviger().admin, { owner, labels: { [LABEL]: method } });
      made.set(place, key);
      return key;
    };

    /** How each call ends: `OK`, or its code and reason. */
    const outcomesOf = async (token: string | undefined, owners: { own: string; foreign?: string }) => {
      const clients = claviger().as(token);
      const attempt = async (method: string, target: Target): Promise<[string, string]> => {
        const owner = target === "own" ? owners.own : (owners.foreign ?? FOREIGN);
        const subject = target === "unknown" ? unknown : { owner, ...(await keyFor(method, owner)) };
        const call = METHODS[method]?.call(clients, subject, method) ?? Promise.reject(new Error("not in the table"));
        const isOk = await call.then(
          () => true,
          () => false,
        );
        if (isOk) return [`${method} ${target}`, "OK"];
        const { code, reason } = await refusalOf(call);
        return [`${method} ${target}`, `${code} ${reason}`];
      };
      const attempts = [...ACCESS.keys()].flatMap((method) => TARGETS.map((target) => attempt(method, target)));
      return Object.fromEntries(await Promise.all(attempts));
    };

    const service = (owner: string, ...scopes: string[]) => makeKey(claviger().admin, { owner, scopes });

    it("nobody", async () => {
      expect(await outcomesOf(undefined, { own: "acme:ada" })).toEqual(expectedOf("none"));
    });

    const hourAgo = () => ({ exp: Math.floor(Date.now() / 1000) - 3600 });
    it.each<[string, () => string]>([
      ["garbage", () => "garbage"],
      ["a garbage JWT", () => "eyJhbGciOiJFUzI1NiJ9.garbage.garbage"],
      ["a JWT that has expired", () => users.token("ada", { claims: hourAgo() })],
      ["a JWT for another audience", () => users.token("ada", { claims: { aud: "billing" } })],
      [
        "a JWT of an issuer that nobody configured, with the same subject",
        () => users.token("ada", { issuer: "stranger", claims: ADMIN_CLAIMS }),
      ],
      [
        "a JWT that one issuer signed in the name of another",
        () => users.token("ada", { issuer: "globex", claims: { iss: "https://login.acme.example", ...ADMIN_CLAIMS } }),
      ],
    ])("whoever calls with %s", async (_, token) => {
      const refused = "Unauthenticated CREDENTIAL_INVALID";
      expect(await outcomesOf(token(), { own: "acme:ada" })).toEqual(expectedOf("none", refused));
    });

    const dead: [string, (key: MadeKey) => Promise<string>][] = [
      ["mistyped", async ({ secret }) => mistype(secret)],
      ["forged", async ({ secret }) => forge(secret)],
      [
        "revoked",
        async ({ id, secret }) =>
          claviger()
            .admin.keys.revokeKey({ keyId: id })
            .then(() => secret),
      ],
      ["disabled", ({ id, secret }) => changeKey(claviger().admin, id, { disabled: true }).then(() => secret)],
      ["expired", ({ id, secret }) => ageKey(claviger().storage, id, 91 * 86_400_000).then(() => secret)],
      [
        "rotated out",
        async ({ id, secret }) => {
          await claviger().admin.keys.rotateKey({ keyId: id, gracePeriod: durationFromMs(0) });
          return secret;
        },
      ],
      [
        "used from an address that it is not for",
        ({ id, secret }) => changeKey(claviger().admin, id, { allowedCidrs: ["192.0.2.0/24"] }).then(() => secret),
      ],
    ];
    it.each(dead)("whoever calls with an admin's key that is %s", async (how, end) => {
      const token = await end(await service(`dead ${how}`, "claviger:*"));
      const refused = "Unauthenticated CREDENTIAL_INVALID";
      expect(await outcomesOf(token, { own: `dead ${how}` })).toEqual(expectedOf("none", refused));
    });

    it("a user", async () => {
      expect(await outcomesOf(users.token("ada"), { own: "acme:ada" })).toEqual(expectedOf("user"));
    });

    it("a user of another issuer with the same subject, to whom the first is foreign", async () => {
      const token = users.token("ada", { issuer: "globex" });
      const owners = { own: "globex:ada", foreign: "acme:ada" };
      expect(await outcomesOf(token, owners)).toEqual(expectedOf("user"));
    });

    it("a user with the claim of an administrator, from an issuer that has no administrators", async () => {
      const token = users.token("eve", { issuer: "globex", claims: ADMIN_CLAIMS });
      expect(await outcomesOf(token, { own: "globex:eve" })).toEqual(expectedOf("user"));
    });

    it("a user who is an administrator", async () => {
      const token = users.token("root", { claims: ADMIN_CLAIMS });
      expect(await outcomesOf(token, { own: "acme:root" })).toEqual(expectedOf("user-admin"));
    });

    it.each([[[]], [["*", "orders:*"]], [["claviger", "claviger:keys:*"]]])(
      "a service key with the scopes %j",
      async (scopes) => {
        const { secret } = await service("svc", ...scopes);
        expect(await outcomesOf(secret, { own: "svc" })).toEqual(expectedOf("nothing"));
      },
    );

    it.each(["verify", "keys.read", "keys.write", "keys.revoke", "usage.read", "audit.read"])(
      "a service key with the scope claviger:%s",
      async (scope) => {
        const { secret } = await service("svc", `claviger:${scope}`);
        expect(await outcomesOf(secret, { own: "svc" })).toEqual(expectedOf(scope));
      },
    );

    it("a user, to whom another's key and one that nobody has look alike", async () => {
      const ada = claviger().as(users.token("ada"));
      const { id, secret } = await keyFor("alike", FOREIGN);
      const methods = Object.entries(METHODS).filter(([, { names }]) => names === "key");
      for (const [method, { call }] of methods) {
        const [foreign, absent] = await Promise.all([
          refusalOf(call(ada, { owner: FOREIGN, id, secret }, method)),
          refusalOf(call(ada, unknown, method)),
        ]);
        expect(JSON.stringify(foreign).replaceAll(id, unknown.id), method).toBe(JSON.stringify(absent));
        expect(foreign).toMatchObject({ reason: "KEY_NOT_FOUND", metadata: { key_id: id } });
      }
      for (const keyId of [id, unknown.id]) {
        expect((await ada.keys.listAuditEvents({ keyId })).events).toEqual([]);
      }
    });

    /**
     * Who may change or end a key that holds a scope of Claviger: its owner as a user ends it, and does not change it; a
     * lesser service does neither.
     */
    const PROTECTED = {
      "user, own": {
        UpdateKey: "-",
        RotateKey: "-",
        Disable: "ok",
        RetireSecret: "ok",
        RevokeKey: "ok",
        RevokeKeys: "ok",
      },
      "keys.write": {
        UpdateKey: "-",
        RotateKey: "-",
        Disable: "-",
        RetireSecret: "x",
        RevokeKey: "x",
        RevokeKeys: "x",
      },
      "keys.revoke": {
        UpdateKey: "x",
        RotateKey: "x",
        Disable: "x",
        RetireSecret: "-",
        RevokeKey: "-",
        RevokeKeys: "-",
      },
      "user-admin": {
        UpdateKey: "ok",
        RotateKey: "ok",
        Disable: "ok",
        RetireSecret: "ok",
        RevokeKey: "ok",
        RevokeKeys: "ok",
      },
      admin: { UpdateKey: "ok", RotateKey: "ok", Disable: "ok", RetireSecret: "ok", RevokeKey: "ok", RevokeKeys: "ok" },
    } as const;
    const OUTCOMES = { ok: "OK", "-": "SCOPE_NOT_GRANTABLE", x: "PERMISSION_DENIED" };

    it.each(Object.keys(PROTECTED) as (keyof typeof PROTECTED)[])(
      "%s, for keys that hold a scope of Claviger",
      async (role) => {
        const tokens: Record<keyof typeof PROTECTED, () => Promise<string>> = {
          "user, own": async () => users.token("protected"),
          "keys.write": async () => (await service("svc", "claviger:keys.write")).secret,
          "keys.revoke": async () => (await service("svc", "claviger:keys.revoke")).secret,
          "user-admin": async () => users.token("root", { claims: ADMIN_CLAIMS }),
          admin: async () => claviger().adminToken,
        };
        const clients = claviger().as(await tokens[role]());
        for (const [method, access] of Object.entries(PROTECTED[role])) {
          const label = `protected.${method.toLowerCase()}`;
          const key = await makeKey(claviger().admin, {
            ...{ owner: "acme:protected", scopes: ["orders:read", "claviger:verify"], labels: { [LABEL]: label } },
          });
          const call =
            method === "Disable"
              ? changeKey(clients, key.id, { disabled: true })
              : METHODS[method]?.call(clients, { owner: "acme:protected", ...key }, label);
          const outcome = await (call ?? Promise.reject(new Error("not in the table"))).then(
            () => "OK",
            () => refusalOf(call ?? Promise.resolve()).then(({ reason }) => reason),
          );
          expect(outcome, method).toBe(OUTCOMES[access]);
          await claviger().admin.keys.revokeKey({ keyId: key.id });
        }
      },
    );

    it("the owner of a key whose restrictions another has set, who can tighten them only", async () => {
      const owner = "acme:held";
      const { id } = await makeKey(claviger().admin, { owner, allowedCidrs: ["10.0.0.0/8"] });
      await changeKey(claviger().admin, id, { disabled: true });
      const held = claviger().as(users.token("held"));
      for (const change of [{ disabled: false }, { allowedCidrs: [] }]) {
        expect(await refusalOf(changeKey(held, id, change))).toMatchObject({ reason: "PERMISSION_DENIED" });
        await changeKey(claviger().as(users.token("root", { claims: ADMIN_CLAIMS })), id, change);
        await changeKey(claviger().admin, id, { disabled: true, allowedCidrs: ["10.0.0.0/8"] });
      }
      await changeKey(held, id, { disabled: true, allowedCidrs: ["10.1.0.0/16"] });
    });

    it("a service key with claviger:*", async () => {
      const { secret } = await service("svc-admin", "claviger:*");
      expect(await outcomesOf(secret, { own: "svc-admin" })).toEqual(expectedOf("admin"));
    });

    it("the first admin key", async () => {
      const { adminToken } = claviger();
      expect(await outcomesOf(adminToken, { own: "svc-admin" })).toEqual(expectedOf("admin"));
    });
  },
  { ...users.settings, CLAVIGER_POLICY: JSON.stringify({ manage: { keysPerOwner: 1000 } }) },
);

function parseTable(text: string): Map<string, Map<Role, string>> {
  const [[, ...roles] = [], ...rows] = text
    .trim()
    .split("\n")
    .map((line, index) => (index === 0 ? ["", ...line.trim().split(/ +/)] : line.trim().split(/ +/)));
  return new Map(
    rows.map(([method = "", ...cells]) => [method, new Map(roles.map((role, i) => [role, cells[i] ?? ""]))]),
  );
}
