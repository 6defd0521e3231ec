import { create, type MessageInitShape, toJson } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { afterEach, describe, expect, it } from "vitest";
import { AuditOutcome } from "#gen/claviger/v1/audit_pb.js";
import {
  CreateKeyRequestSchema,
  KeyManagement,
  ListKeysRequestSchema,
  RevokeKeysRequestSchema,
  RotateKeyRequestSchema,
  UpdateKeyRequestSchema,
} from "#gen/claviger/v1/key_management_pb.js";
import { ActorKind, Environment, KeySchema, KeyState, SecretState } from "#gen/claviger/v1/key_pb.js";
import { KeyVerifier, Verdict, VerifyRequestSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { NodeState } from "#gen/claviger/v1/node_pb.js";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { Health, HealthCheckResponse_ServingStatus as Status } from "#gen/grpc/health/v1/health_pb.js";
import { type FakeServer, startFakeServer } from "../../testkit/fakes/fake-server.ts";
import { type FakeShellOptions, NOW, type Outcome, runInFakeShell } from "../../testkit/fakes/fake-shell.ts";
import { widthOf } from "./output/printable.ts";

const ID = "key_01hzy3v7mkf5c9q2w8xanb4tde";
const SECRET = "clv_live_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM";

const servers: FakeServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

async function runAgainst(
  routes: (router: ConnectRouter) => void,
  words: readonly string[],
  options: FakeShellOptions = {},
): Promise<Outcome> {
  const server = await startFakeServer(routes);
  servers.push(server);
  return runInFakeShell(words, { ...options, environment: { CLAVIGER_URL: server.url, ...options.environment } });
}

function inDays(days: number) {
  return timestampFromDate(new Date(NOW.getTime() + days * 86_400_000));
}

function keyOf(fields: MessageInitShape<typeof KeySchema> = {}) {
  return create(KeySchema, {
    id: ID,
    owner: "u1",
    displayName: "demo",
    environment: Environment.LIVE,
    state: KeyState.ACTIVE,
    expireTime: inDays(90),
    secrets: [{ version: 1, hint: "clv_live_…JKLM", state: SecretState.CURRENT, expireTime: inDays(90) }],
    ...fields,
  });
}

function wordsOf(text: string): string[] {
  return text.split(/\s+/);
}

describe("keys create", () => {
  const routes = (router: ConnectRouter) =>
    router.service(KeyManagement, { createKey: () => ({ key: keyOf(), secret: SECRET }) });

  it("sends what was asked for, as whom the environment says", async () => {
    const seen: unknown[] = [];
    const spy = (router: ConnectRouter) =>
      router.service(KeyManagement, {
        createKey: (request, context) => {
          seen.push(context.requestHeader.get("authorization"), toJson(CreateKeyRequestSchema, request));
          return { key: keyOf(), secret: SECRET };
        },
      });
    const words =
      "keys create --name demo --owner u1 --environment test --scope a:b --scope c:* --label x=1 --label y=a=b";
    await runAgainst(
      spy,
      [...words.split(" "), "--metadata", '{"plan":"pro"}', "--cidr", "10.0.0.0/8", "--ttl", "30d"],
      {
        environment: { CLAVIGER_TOKEN: "the-token" },
      },
    );
    expect(seen).toEqual([
      "Bearer the-token",
      {
        displayName: "demo",
        owner: "u1",
        environment: "ENVIRONMENT_TEST",
        scopes: ["a:b", "c:*"],
        labels: { x: "1", y: "a=b" },
        metadata: { plan: "pro" },
        allowedCidrs: ["10.0.0.0/8"],
        ttl: "2592000s",
      },
    ]);
  });

  it("shows the key, and the secret on a line of its own, this once", async () => {
    const { code, out, err } = await runAgainst(routes, ["keys", "create", "--name", "demo"]);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).toContain(`key id       ${ID}\n`);
    expect(out).toContain("expires      2027-02-20 (in 90 days)\n");
    expect(out).toMatch(new RegExp(`shown this once:\n${SECRET}\n$`));
  });

  it("prints only the secret with --quiet, and the key id on standard error", async () => {
    const outcome = await runAgainst(routes, ["keys", "create", "--name", "demo", "--quiet"]);
    expect(outcome).toEqual({ code: 0, out: `${SECRET}\n`, err: `key id: ${ID}\n` });
  });

  it("prints JSON in camelCase, the unset fields too, with --json", async () => {
    const { out, err } = await runAgainst(routes, ["keys", "create", "--name", "demo", "--json"]);
    expect(err).toBe("");
    expect(out).toContain('\n  "secret": "clv_live_');
    expect(JSON.parse(out)).toMatchObject({
      key: { id: ID, displayName: "demo", state: "KEY_STATE_ACTIVE", scopes: [], expireTime: "2027-02-20T12:00:00Z" },
      secret: SECRET,
    });
  });

  it("warns of a secret that expires within 14 days", async () => {
    const soon = (router: ConnectRouter) =>
      router.service(KeyManagement, { createKey: () => ({ key: keyOf({ expireTime: inDays(3) }), secret: SECRET }) });
    const { out, err } = await runAgainst(soon, ["keys", "create", "--name", "demo", "--quiet"]);
    expect(out).toBe(`${SECRET}\n`);
    expect(err).toContain(`warning: the secret of ${ID} expires 2026-11-25 (in 3 days)`);
  });
});

describe("keys list", () => {
  function paged(seen: unknown[]) {
    return (router: ConnectRouter) =>
      router.service(KeyManagement, {
        listKeys: (request) => {
          seen.push(toJson(ListKeysRequestSchema, request));
          if (request.pageToken === "p2") return { keys: [keyOf({ displayName: "second", expireTime: inDays(5) })] };
          return { keys: [keyOf({ displayName: "evil\u001b[2J" })], nextPageToken: "p2" };
        },
      });
  }

  it("shows one page, and says that there are more", async () => {
    const seen: unknown[] = [];
    const words = "keys list --owner u1 --state active --label x=1 --expires-before 14d --page-size 1";
    const { code, out, err } = await runAgainst(paged(seen), words.split(" "));
    expect(code).toBe(0);
    expect(out).toBe(
      [
        "KEY ID                          NAME           OWNER  STATE   SECRET          EXPIRES",
        `${ID}  evil\\u{1b}[2J  u1     active  clv_live_…JKLM  2027-02-20 (in 90 days)`,
        "",
      ].join("\n"),
    );
    expect(err).toBe("there are more: add --all, or --page-token p2\n");
    expect(seen).toEqual([
      {
        owner: "u1",
        state: "KEY_STATE_ACTIVE",
        labelSelector: { x: "1" },
        expiresBefore: "2026-12-06T12:00:00Z",
        pageSize: 1,
      },
    ]);
  });

  it("shows all pages with --all under the same filters, and warns of what expires soon", async () => {
    const seen: unknown[] = [];
    const { out, err } = await runAgainst(paged(seen), ["keys", "list", "--owner", "u1", "--all"]);
    expect(out.split("\n")).toHaveLength(4);
    expect(err).toContain("expires 2026-11-27 (in 5 days)");
    expect(seen).toEqual([
      { owner: "u1", pageSize: 1000 },
      { owner: "u1", pageSize: 1000, pageToken: "p2" },
    ]);
  });

  it("prints one document with --all --json, and an empty list as one", async () => {
    const { out, err } = await runAgainst(paged([]), ["keys", "list", "--all", "--json"]);
    expect(err).toBe("");
    expect(JSON.parse(out)).toMatchObject({ keys: [{ id: ID }, { displayName: "second" }], nextPageToken: "" });
    const none = (router: ConnectRouter) => router.service(KeyManagement, { listKeys: () => ({}) });
    expect(JSON.parse((await runAgainst(none, ["keys", "list", "--json"])).out)).toEqual({
      keys: [],
      nextPageToken: "",
    });
  });
});

describe("on a terminal of 80 columns", () => {
  const key = keyOf({ displayName: "a name of many words 日本語 🔑", owner: "google-oauth2|103547991597142817347" });
  const events = [
    {
      ...{ sequence: 1_234_567n, time: timestampFromDate(NOW), action: "call.denied", outcome: AuditOutcome.DENIED },
      actor: { kind: ActorKind.SERVICE, subject: "billing", keyId: ID },
      ...{
        keyId: ID,
        owner: "alice",
        details: { method: "CreateKey", reason: "PERMISSION_DENIED", asked_owner: "bob" },
      },
    },
  ];
  const node = { address: "http://10.120.130.140:4640", epoch: "0123456789abcdef", state: NodeState.LIVE };
  const agent = { keyId: ID, owner: "a service of a long name", address: "10.120.130.140", leased: true };
  const routes = (router: ConnectRouter) =>
    router.service(KeyManagement, {
      listKeys: () => ({ keys: [key, keyOf({ state: KeyState.REVOKED, revokeTime: timestampFromDate(NOW) })] }),
      getKey: () => ({ key: keyOf({ expireTime: inDays(0.1) }) }),
      listAuditEvents: () => ({ events }),
      listNodes: () => ({ nodes: [node], epoch: node.epoch, agents: [agent], agentCount: 1 }),
      queryUsage: () => ({ points: [{ group: { method: `/a.b.C/${"M".repeat(90)}` }, count: 9_000_000n }], total: 9n }),
    });

  it.each([`keys list`, `keys get ${ID}`, "audit list", "nodes", "agents", "usage --by method"])(
    "%s fits, and in a pipe or with --wide shows everything",
    async (words) => {
      const narrow = await runAgainst(routes, words.split(" "), { columns: 80 });
      expect(narrow.code).toBe(0);
      for (const line of narrow.out.split("\n")) expect(widthOf(line), line).toBeLessThanOrEqual(80);
      const piped = await runAgainst(routes, words.split(" "));
      expect(piped.out).not.toContain("M…");
      if (words.startsWith("keys get")) return;
      const wide = await runAgainst(routes, [...words.split(" "), "--wide"], { columns: 80 });
      expect(wide.out).toBe(piped.out);
    },
  );

  const receipt = {
    revision: 123_456_789n,
    effectiveTime: timestampFromDate(NOW),
    confirmedVerifierCount: 1_000,
    expiredVerifierCount: 12,
  };
  const createdBy = { kind: ActorKind.SERVICE, subject: "billing", keyId: ID };
  const note = "seen in a public repository, in the settings file of the nightly report, and reported by its owner";
  const scopes = Array.from({ length: 12 }, (_, at) => `orders-${at}:read`);
  const full = keyOf({
    ...{ scopes, labels: { team: "billing" }, metadata: { plan: "pro" }, limits: { requestsPerSecond: 5 } },
    ...{ createTime: inDays(-1), createdBy, expireTime: inDays(1), lastUsedTime: inDays(-0.1), etag: "e1" },
  });
  const revoked = keyOf({
    ...{ scopes, state: KeyState.REVOKED, revokeTime: timestampFromDate(NOW), revokedBy: createdBy, revokeNote: note },
  });
  const changes = (router: ConnectRouter) => {
    router.service(KeyManagement, {
      createKey: () => ({ key: full, secret: SECRET }),
      rotateKey: () => ({ key: full, secret: SECRET, receipt, retiring: { version: 1_000, retireTime: inDays(1) } }),
      revokeKey: () => ({ key: revoked, receipt }),
      revokeKeys: () => ({ keyCount: 1_000, receipt }),
      retireSecret: () => ({ key: full, receipt }),
      updateKey: () => ({ key: full, receipt }),
      reportLeakedSecret: () => ({}),
    });
    router.service(KeyVerifier, {
      verify: () => ({ verdict: Verdict.VALID, key: { id: ID, scopes }, secretExpireTime: inDays(1) }),
    });
  };

  it.each([
    "keys create --name demo",
    "keys create --name demo --quiet",
    `keys rotate ${ID}`,
    `keys revoke ${ID}`,
    "keys revoke --owner u1",
    `keys retire ${ID} --version 1`,
    `keys disable ${ID}`,
    "report-leaked",
    "verify",
  ])("%s prints lines that fit, and in a pipe the same words in fewer", async (words) => {
    const narrow = await runAgainst(changes, words.split(" "), { columns: 80, input: SECRET });
    expect(narrow.code).toBe(0);
    for (const line of `${narrow.out}${narrow.err}`.split("\n")) expect(widthOf(line), line).toBeLessThanOrEqual(80);
    const piped = await runAgainst(changes, words.split(" "), { input: SECRET });
    expect(wordsOf(narrow.err)).toEqual(wordsOf(piped.err));
    const isSecretsTable = words.startsWith("keys") && !words.includes("--owner");
    if (!isSecretsTable) expect(wordsOf(narrow.out)).toEqual(wordsOf(piped.out));
  });

  it.each([
    [`keys revoke ${ID}`, "effective everywhere since 2026-11-22T12:00:00.000Z\n"],
    [`keys rotate ${ID}`, "revision 123456789: 1000 verifiers confirmed, 12 waited out\n"],
    [`keys revoke ${ID}`, "nightly\n             report, and reported by its owner\n"],
  ])("%s shows %j", async (words, shown) => {
    expect((await runAgainst(changes, words.split(" "), { columns: 80 })).out).toContain(shown);
  });

  it("keeps a command that a warning names on one line, and a secret in one piece", async () => {
    const { out, err } = await runAgainst(changes, ["keys", "create", "--name", "demo"], { columns: 80 });
    expect(err).toContain(`\`claviger keys rotate ${ID}\`\n`);
    expect(out).toContain(`\n${SECRET}\n`);
  });

  it("shows a failure in lines that fit, and in JSON on lines of its own", async () => {
    const message = `${"a reason of many words ".repeat(8)}and an end`;
    const failing = (router: ConnectRouter) =>
      router.service(KeyManagement, {
        getKey: () => {
          throw new ConnectError(message, Code.NotFound);
        },
      });
    const { err } = await runAgainst(failing, ["keys", "get", ID], { columns: 80 });
    for (const line of err.split("\n")) expect(widthOf(line), line).toBeLessThanOrEqual(80);
    expect(wordsOf(err).join(" ")).toContain(message);
    const json = await runAgainst(failing, ["keys", "get", ID, "--json"], { columns: 80 });
    expect(JSON.parse(json.err)).toMatchObject({ message });
  });

  it("says why a call was denied, and gives a revoked key no expiry", async () => {
    expect((await runAgainst(routes, ["audit", "list"])).out).toContain("CreateKey: PERMISSION_DENIED asked-owner=bob");
    expect((await runAgainst(routes, ["audit", "list"], { columns: 80 })).out).toContain("CreateKey: PERM");
    const [, , revoked] = (await runAgainst(routes, ["keys", "list"])).out.split("\n");
    expect(revoked).toMatch(/revoked +clv_live_…JKLM +–$/);
  });

  it("prints only ids with --quiet", async () => {
    expect((await runAgainst(routes, ["keys", "list", "-q"])).out).toBe(`${ID}\n${ID}\n`);
  });
});

describe("agents", () => {
  const [here, there] = ["http://10.0.0.1:4640", "http://10.0.0.2:4640"];
  const nodeOf = (address: string, epoch: string, state: NodeState = NodeState.LIVE) => ({ address, state, epoch });
  const self = nodeOf(here, "aaaaaaaa00000000");
  const agent = { keyId: ID, owner: "shop", address: "10.1.2.3", leased: true };

  interface Listed {
    /** Default one. */
    readonly agents?: readonly (typeof agent)[];
    /** Default: as many as are listed. */
    readonly agentCount?: number;
  }

  function listing(
    others: readonly ReturnType<typeof nodeOf>[],
    { agents = [agent], agentCount = agents.length }: Listed = {},
  ) {
    return (router: ConnectRouter) =>
      router.service(KeyManagement, {
        listNodes: () => ({ nodes: [...others, self], epoch: self.epoch, agents: [...agents], agentCount }),
      });
  }

  it.each([
    [
      "two elsewhere",
      [nodeOf(there, "b"), nodeOf("http://10.0.0.3:4640", "c")],
      "agents of this process only; 2 more processes serve: ask each with --url\n",
    ],
    [
      "one worker beside it",
      [nodeOf(here, "b")],
      "agents of this process only; 1 more process serves at this address: call again to reach another\n",
    ],
    [
      "both",
      [nodeOf(here, "b"), nodeOf(there, "c")],
      "agents of this process only; 1 more process serves: ask each with --url; 1 more process serves at this address: call again to reach another\n",
    ],
    ["none that is live", [nodeOf(there, "b", NodeState.SILENT), nodeOf(there, "c", NodeState.COLLECTED)], ""],
    ["none", [], ""],
  ])("names the process that answered, and counts the other live ones: %s", async (_, others, said) => {
    const { code, err } = await runAgainst(listing(others), ["agents"]);
    expect({ code, err }).toEqual({ code: 0, err: `1 attached to ${here} (epoch aaaaaaaa)\n${said}` });
    const none = await runAgainst(listing(others, { agents: [] }), ["agents"]);
    expect(none.err).toBe(`no agent is attached to ${here} (epoch aaaaaaaa)\n${said}`);
  });

  it("says that there are more agents than it shows", async () => {
    const { err } = await runAgainst(listing([], { agentCount: 1_200 }), ["agents"]);
    expect(err).toContain("1200 attached to http://10.0.0.1:4640 (epoch aaaaaaaa), of which these are the first 1\n");
  });

  it("gives programs the epoch that answered, every process with its state, and the count", async () => {
    const { out, err } = await runAgainst(listing([nodeOf(there, "b")]), ["agents", "--json"]);
    expect(err).toBe("");
    expect(JSON.parse(out)).toMatchObject({
      epoch: self.epoch,
      nodes: [
        { epoch: "b", address: there, state: "NODE_STATE_LIVE" },
        { epoch: self.epoch, address: here, state: "NODE_STATE_LIVE" },
      ],
      agentCount: 1,
    });
  });
});

describe("keys update, disable and enable", () => {
  it.each([
    [
      ["update", ID, "--name", "new", "--scope", "a", "--etag", "e1"],
      { key: { id: ID, displayName: "new", scopes: ["a"], etag: "e1" }, updateMask: "displayName,scopes" },
    ],
    [["update", ID, "--clear", "cidrs"], { key: { id: ID }, updateMask: "allowedCidrs" }],
    [["disable", ID], { key: { id: ID, disabled: true }, updateMask: "disabled" }],
    [["enable", ID], { key: { id: ID }, updateMask: "disabled" }],
  ])("%j changes what is named and nothing else", async (words, request) => {
    const seen: unknown[] = [];
    const routes = (router: ConnectRouter) =>
      router.service(KeyManagement, {
        updateKey: (message) => {
          seen.push(toJson(UpdateKeyRequestSchema, message));
          return { key: keyOf(), receipt: { revision: 7n, confirmedVerifierCount: 2 } };
        },
      });
    const { code, out } = await runAgainst(routes, ["keys", ...words]);
    expect(code).toBe(0);
    expect(out).toContain("effective everywhere\nrevision 7: 2 verifiers confirmed, 0 waited out\n");
    expect(seen).toEqual([request]);
  });
});

describe("keys rotate", () => {
  it.each([
    [[], { keyId: ID }],
    [["--grace", "0"], { keyId: ID, gracePeriod: "0s" }],
    [["--grace", "1h", "--ttl", "7d", "--etag", "e1"], { keyId: ID, gracePeriod: "3600s", ttl: "604800s", etag: "e1" }],
  ])("with %j asks for that, and for the defaults otherwise", async (words, request) => {
    const seen: unknown[] = [];
    const routes = (router: ConnectRouter) =>
      router.service(KeyManagement, {
        rotateKey: (message) => {
          seen.push(toJson(RotateKeyRequestSchema, message));
          return { key: keyOf(), secret: SECRET, retiring: { version: 1, retireTime: inDays(1) } };
        },
      });
    const { code, out } = await runAgainst(routes, ["keys", "rotate", ID, ...words]);
    expect({ code, seen }).toEqual({ code: 0, seen: [request] });
    expect(out).toContain("the old secret, version 1, ends 2026-11-23 12:00 UTC (in 24 hours)");
    expect(out.endsWith(`shown this once:\n${SECRET}\n`)).toBe(true);
  });
});

describe("keys revoke", () => {
  function revoking(seen: unknown[]) {
    return (router: ConnectRouter) => {
      router.service(KeyManagement, {
        revokeKey: ({ keyId, secret }) => {
          seen.push(keyId || secret);
          return { key: keyOf({ state: KeyState.REVOKED, revokeTime: timestampFromDate(NOW) }) };
        },
        revokeKeys: (request) => {
          seen.push(toJson(RevokeKeysRequestSchema, request));
          return { keyCount: 3 };
        },
      });
    };
  }

  it("revokes the key that is named", async () => {
    const seen: unknown[] = [];
    const { code, out } = await runAgainst(revoking(seen), ["keys", "revoke", ID, "--reason", "no-longer-used"]);
    expect({ code, seen }).toEqual({ code: 0, seen: [ID] });
    expect(out).toContain("state        revoked\n");
  });

  it("revokes the key of a secret from standard input, without verifying it", async () => {
    const seen: unknown[] = [];
    const { code } = await runAgainst(revoking(seen), ["keys", "revoke", "--secret"], { input: `${SECRET}\n` });
    expect({ code, seen }).toEqual({ code: 0, seen: [SECRET] });
  });

  it("revokes many by owner and label, or only counts them", async () => {
    const seen: unknown[] = [];
    const words = ["keys", "revoke", "--owner", "u1", "--label", "a=1"];
    expect((await runAgainst(revoking(seen), [...words, "--dry-run"])).out).toBe("3 keys would be revoked\n");
    expect((await runAgainst(revoking(seen), [...words, "--reason", "owner-left"])).out).toBe("3 keys revoked\n");
    expect(seen).toEqual([
      { owner: "u1", labelSelector: { a: "1" }, validateOnly: true },
      { owner: "u1", labelSelector: { a: "1" }, reason: "REVOCATION_REASON_OWNER_LEFT" },
    ]);
  });
});

describe("verify", () => {
  function answering(verdict: Verdict, seen: unknown[] = []) {
    return (router: ConnectRouter) =>
      router.service(KeyVerifier, {
        verify: (request) => {
          seen.push(toJson(VerifyRequestSchema, request));
          const key = { id: ID, displayName: "demo", owner: "u1", secretVersion: 2 };
          return { verdict, key, secretExpireTime: inDays(9), freshness: 1 };
        },
      });
  }

  it("exits with 0 for VALID, and warns of a secret that expires within 14 days", async () => {
    const { code, out, err } = await runAgainst(answering(Verdict.VALID), ["verify"], { input: SECRET });
    expect(code).toBe(0);
    expect(out).toContain("VALID: the key is good for this call\n");
    expect(err).toContain(`expires 2026-12-01 (in 9 days): rotate it with \`claviger keys rotate ${ID}\``);
  });

  it.each(Object.values(Verdict).filter((verdict) => verdict !== Verdict.VALID))(
    "exits with 1 for every other verdict, %i",
    async (verdict) => {
      expect((await runAgainst(answering(verdict), ["verify"], { input: SECRET })).code).toBe(1);
      expect((await runAgainst(answering(verdict), ["verify", "--json"], { input: SECRET })).code).toBe(1);
    },
  );

  it("sends what was asked, the secret without its newline", async () => {
    const seen: unknown[] = [];
    const words = "verify --scope a:b --scope c --environment test --ip 10.1.2.3 --method /p.S/M --cost 0";
    await runAgainst(answering(Verdict.VALID, seen), words.split(" "), { input: `${SECRET}\n` });
    await runAgainst(answering(Verdict.VALID, seen), ["verify"], { input: SECRET });
    expect(seen).toEqual([
      {
        ...{ secret: SECRET, requiredScopes: ["a:b", "c"], environment: "ENVIRONMENT_TEST" },
        ...{ clientIp: "10.1.2.3", method: "/p.S/M", cost: 0 },
      },
      { secret: SECRET },
    ]);
  });

  it.each(Object.values(Verdict).filter((verdict) => verdict !== Verdict.UNSPECIFIED))(
    "says what verdict %i means",
    async (verdict) => {
      const { out } = await runAgainst(answering(verdict), ["verify"], { input: SECRET });
      expect(out).toMatch(/^[A-Z_]+: /);
      expect(out).not.toContain("see the server's documentation");
    },
  );

  it("prints the response with --json, and never the secret", async () => {
    const { out, err } = await runAgainst(answering(Verdict.DISABLED), ["verify", "--json"], { input: SECRET });
    expect(JSON.parse(out)).toMatchObject({
      verdict: "VERDICT_DISABLED",
      key: { id: ID, secretVersion: 2 },
      revision: 0,
    });
    expect(out + err).not.toContain(SECRET);
  });
});

describe("report-leaked", () => {
  it("sends the secret from standard input, and where it was found", async () => {
    const seen: unknown[] = [];
    const routes = (router: ConnectRouter) =>
      router.service(KeyManagement, {
        reportLeakedSecret: ({ secret, source }) => {
          seen.push(secret, source);
          return {};
        },
      });
    const { code, out } = await runAgainst(routes, ["report-leaked", "--source", "a paste"], { input: `${SECRET}\n` });
    expect({ code, seen }).toEqual({ code: 0, seen: [SECRET, "a paste"] });
    expect(out).not.toContain(SECRET);
  });
});

describe("health", () => {
  function healthOf(statuses: Record<string, Status>) {
    return (router: ConnectRouter) =>
      router.service(Health, {
        check: ({ service }) => {
          const status = statuses[service];
          if (status === undefined) throw new ConnectError("unknown service", Code.NotFound);
          return { status };
        },
      });
  }
  const serving = {
    "": Status.SERVING,
    "claviger.v1.KeyVerifier": Status.SERVING,
    "claviger.v1.KeyManagement": Status.SERVING,
  };

  it("exits with 0 when all are serving", async () => {
    const { code, out } = await runAgainst(healthOf(serving), ["health"]);
    expect(code).toBe(0);
    expect(out).toBe(
      "(process)                  serving\nclaviger.v1.KeyVerifier    serving\nclaviger.v1.KeyManagement  serving\n",
    );
  });

  it("shows the reason that the server gives beside the result, without control characters", async () => {
    const routes = (router: ConnectRouter) =>
      router.service(Health, {
        check({ service }, { responseHeader }) {
          if (service === "claviger.v1.KeyManagement") responseHeader.set("claviger-health-reason", "no\u009bspace");
          return { status: Status.SERVING };
        },
      });
    const { code, out, err } = await runAgainst(routes, ["health", "--json"]);
    expect({ code, err }).toEqual({
      code: 0,
      err: expect.stringMatching(/^claviger\.v1\.KeyManagement: no\P{Cc}+space\n$/u),
    });
    expect(Object.keys(JSON.parse(out).statuses)).toHaveLength(3);
  });

  it("exits with 4 when one is not, and asks only about --service if given", async () => {
    const routes = healthOf({ ...serving, "claviger.v1.KeyManagement": Status.NOT_SERVING });
    expect((await runAgainst(routes, ["health"])).code).toBe(4);
    expect((await runAgainst(routes, ["health", "--service", "claviger.v1.KeyVerifier"])).code).toBe(0);
    const unknown = await runAgainst(routes, ["health", "--service", "x", "--json"]);
    expect(unknown.code).toBe(4);
    expect(JSON.parse(unknown.out)).toEqual({ statuses: { x: { status: "SERVICE_UNKNOWN" } } });
  });
});

describe("an error of the server", () => {
  function failing(code: Code, reason: string) {
    return (router: ConnectRouter) =>
      router.service(KeyManagement, {
        getKey: () => {
          const value = { reason, domain: "claviger", metadata: { key_id: ID } };
          throw new ConnectError("there is no such key", code, undefined, [{ desc: ErrorInfoSchema, value }]);
        },
      });
  }

  it("exits with 3 when it is a refusal, and shows message and reason", async () => {
    const { code, out, err } = await runAgainst(failing(Code.NotFound, "KEY_NOT_FOUND"), ["keys", "get", ID]);
    expect({ code, out, err }).toEqual({
      code: 3,
      out: "",
      err: "error: there is no such key\n  reason: KEY_NOT_FOUND\n",
    });
  });

  it("is JSON on standard error with --json", async () => {
    const { code, out, err } = await runAgainst(failing(Code.NotFound, "KEY_NOT_FOUND"), ["keys", "get", ID, "--json"]);
    expect({ code, out }).toEqual({ code: 3, out: "" });
    expect(JSON.parse(err)).toEqual({
      code: "NOT_FOUND",
      reason: "KEY_NOT_FOUND",
      message: "there is no such key",
      metadata: { key_id: ID },
      violations: [],
    });
  });

  it("exits with 4 when nothing could be decided", async () => {
    const outage = failing(Code.Unavailable, "STORAGE_UNAVAILABLE");
    expect((await runAgainst(outage, ["keys", "get", ID])).code).toBe(4);
  });

  it("says plainly that a cleartext port does not speak TLS", async () => {
    const server = await startFakeServer(failing(Code.NotFound, "KEY_NOT_FOUND"));
    servers.push(server);
    const url = server.url.replace("http:", "https:");
    const { code, err } = await runInFakeShell(["keys", "list", "--url", url]);
    expect(code).toBe(4);
    expect(err).toBe(
      `error: what listens at ${url} does not speak TLS: write the address with http://, or start the proxy that speaks TLS\n`,
    );
  });

  it("that is no answer within --timeout exits with 4", async () => {
    const silent = (router: ConnectRouter) =>
      router.service(KeyManagement, {
        getKey: (_, { signal }) =>
          new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
      });
    const { code, err } = await runAgainst(silent, ["keys", "get", ID, "--timeout", "50ms"]);
    expect(code).toBe(4);
    expect(err).toMatch(/DEADLINE|no answer from .* within 50 ms/);
  });
});
