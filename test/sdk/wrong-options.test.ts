import { isDeepStrictEqual } from "node:util";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import * as connectKeys from "../../src/sdk/connect/index.ts";
import * as fastifyKeys from "../../src/sdk/fastify/index.ts";
import * as grpcJsKeys from "../../src/sdk/grpc-js/index.ts";
import * as httpKeys from "../../src/sdk/http/index.ts";
import { createVerifier, fromFile, type KeySource } from "../../src/sdk/index.ts";
import { createGuard } from "../../src/sdk/protect/guard.ts";
import { FakeVerifier } from "../../src/sdk/testing/fake-verifier.ts";
import { readCredential } from "../../src/wire/credential.ts";

const verifier = new FakeVerifier();
const SECRET = `clv_test_${"0".repeat(49)}`;
const handler = () => undefined;

/** Values of every kind that JavaScript lets through. */
const VALUES: readonly unknown[] = [
  ...[null, true, false, 0, -1, 0.5, 1, 5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31 - 1, 2 ** 31, "5", 5n],
  ...["", " ", "a:b", "orders:*", "GET /orders", "/shop/list", `/a/${"b".repeat(300)}`, "not a scope", "a\nb"],
  ...["http://127.0.0.1:4640", "http://127.0.0.1:4640/api", "http://127.0.0.1:4640/?a=b", "http://a:b@127.0.0.1"],
  ...["127.0.0.1:4640", ["http://127.0.0.1:4640", "ftp://127.0.0.1"], ["http://127.0.0.1:4640"]],
  ...[[], ["a:b"], ["a", "*"], ["orders:*"], ["A"], [""], [["a"]], [5], Array.from({ length: 65 }, () => "a")],
  ...[{}, new Map(), new Set(["a"]), new Date(0), handler, { after: handler }, Symbol("a"), Promise.resolve(["a"])],
];

type Holds = (value: unknown) => boolean;
const isFunction: Holds = (value) => typeof value === "function";
const isOneOf =
  (...right: unknown[]): Holds =>
  (value) =>
    right.some((one) => isDeepStrictEqual(one, value));
const isSpan: Holds = (value) => typeof value === "number" && value >= 1 && value <= 2 ** 31 - 1;
const isObject: Holds = (value) => typeof value === "object" && value !== null;

const KEY_OPTIONS = {
  ...{ scopes: isFunction, anonymous: isFunction, clientIp: isFunction, onUndecided: isFunction },
  environment: isOneOf("live", "test", "any"),
};
const STREAM = { reverifyMs: isSpan, undecidedMs: isSpan, timers: isObject };
const HTTP = {
  ...KEY_OPTIONS,
  scopes: (value: unknown) => isFunction(value) || isOneOf([], ["a:b"])(value),
  anonymous: (value: unknown) => isFunction(value) || typeof value === "boolean",
  method: (value: unknown) => isFunction(value) || value === "/shop/list",
  onRefused: isFunction,
};
const ATTACH = { onRetiring: isFunction };
const asVerifier = (options: object) => void createVerifier(options).close();

beforeAll(() => {
  process.env.CLAVIGER_TOKEN = SECRET;
});
afterAll(() => {
  delete process.env.CLAVIGER_TOKEN;
});

/** Every function that takes options, with what it takes; written down a second time, for the first may be wrong. */
const TAKERS: Readonly<Record<string, readonly [make: (options: object) => unknown, options: Record<string, Holds>]>> =
  {
    createVerifier: [
      asVerifier,
      {
        url: isOneOf("http://127.0.0.1:4640", ["http://127.0.0.1:4640"]),
        token: (value) => isFunction(value) || (typeof value === "string" && /^[!-~]+$/.test(value.trim())),
        capacity: isOneOf(1, 5),
        reportEveryMs: isSpan,
        timeoutMs: isSpan,
        nodeOptions: isObject,
        onBroken: isFunction,
        onWarning: isFunction,
      },
    ],
    fromFile: [(options) => fromFile("/nowhere", options), { everyMs: isSpan, onProblem: isFunction }],
    "http requireKey": [(options) => httpKeys.requireKey(verifier, options), HTTP],
    "http withKey": [(options) => httpKeys.withKey(verifier, handler, options), HTTP],
    "fastify requireKey": [(options) => fastifyKeys.requireKey(verifier, options), HTTP],
    "connect requireKey": [(options) => connectKeys.requireKey(verifier, options), { ...KEY_OPTIONS, ...STREAM }],
    "grpc-js requireKey": [
      (options) => grpcJsKeys.requireKey(verifier, options),
      { ...KEY_OPTIONS, ...STREAM, services: isOneOf([], new Map()) },
    ],
    "connect attachKey": [(options) => connectKeys.attachKey(SECRET, options), ATTACH],
    "grpc-js attachKey": [(options) => grpcJsKeys.attachKey(SECRET, options), ATTACH],
  };

function show(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value) : `${typeof value} ${String(value)}`;
}

/** Values with which it is made without an error, although they are wrong. */
function takenOf([make, options]: (typeof TAKERS)[string], name: string): string[] {
  const holds = options[name] as Holds;
  return VALUES.filter((value) => !holds(value)).flatMap((value) => {
    try {
      make({ [name]: value });
      return [show(value)];
    } catch (error) {
      expect(error).toBeInstanceOf(Error);
      expect(String(error), show(value)).toMatch(/Pass |pass |write it as/i);
      return [];
    }
  });
}

describe.each(Object.entries(TAKERS))("%s", (_, taker) => {
  const [make, options] = taker;

  it.each(Object.keys(options))("rejects every wrong %s at once", (name) => {
    // An empty token is missing, and an empty list of scopes or services asks for none.
    expect(takenOf(taker, name)).toEqual([]);
  });

  it("treats an undefined option as absent", () => {
    expect(() => make(Object.fromEntries(Object.keys(options).map((name) => [name, undefined])))).not.toThrow();
  });

  it("rejects a misspelt name, and suggests the right one", () => {
    for (const name of Object.keys(options)) {
      const misspelt = [name.slice(0, -1), `${name}s`, name.toUpperCase(), `${name.slice(0, -2)}${name.at(-1)}`];
      for (const other of misspelt.filter((other) => options[other] === undefined)) {
        expect(() => make({ [other]: undefined }), other).toThrow(TypeError);
        expect(() => make({ [other]: undefined }), other).toThrow(/there is no option .*did you mean/);
      }
    }
    expect(() => make({ nothing: 1 })).toThrow(/there is no option nothing\. Options are /);
    expect(() => make(Object.create({ nothing: 1 }))).toThrow(/there is no option nothing/);
  });

  it.each([[null], ["scopes"], [["scopes"]], [5], [new Map([["scopes", ["a"]]])], [handler]])(
    "rejects options that are not an object: %s",
    (wrong) => {
      expect(() => make(wrong as never)).toThrow(TypeError);
    },
  );
});

it.each<[string, () => unknown]>([
  ["http requireKey", () => httpKeys.requireKey(undefined as never)],
  ["http withKey", () => httpKeys.withKey(undefined as never, handler)],
  ["fastify requireKey", () => fastifyKeys.requireKey({ scopes: ["a"] } as never)],
  ["connect requireKey", () => connectKeys.requireKey(null as never)],
  ["grpc-js requireKey", () => grpcJsKeys.requireKey((() => true) as never)],
])("%s throws without a verifier", (_, make) => {
  expect(make).toThrow(/the verifier is missing\. Pass what createVerifier\(\) returned first/);
});

it.each([[undefined], [null], [5], [{}], [[]], [Promise.resolve("s")], ["a\nb"], [""]])(
  "attachKey throws with the key %s",
  (source) => {
    expect(() => connectKeys.attachKey(source as KeySource)).toThrow(TypeError);
    expect(() => grpcJsKeys.attachKey(source as KeySource)).toThrow(TypeError);
  },
);

describe("a function of the options that returns a wrong value for a call", () => {
  /** What a function may return; everything else is wrong. */
  const RIGHT: Readonly<Record<string, Holds>> = {
    scopes: isOneOf([], ["a:b"]),
    anonymous: (value) => typeof value === "boolean",
    clientIp: (value) => typeof value === "string",
    method: (value) => value === "/shop/list",
  };
  const REJECTION = () => Promise.reject(new Error("somebody else's"));
  let lost: unknown[];
  const lose = (error: unknown) => void lost.push(error);
  beforeEach(() => {
    lost = [];
    process.on("unhandledRejection", lose);
  });
  afterEach(() => process.off("unhandledRejection", lose));

  interface Outcome {
    readonly status: number | "let in";
    readonly told: readonly unknown[];
  }

  function throughHttp(options: object, presented: string | undefined): Outcome {
    const told: unknown[] = [];
    let status: Outcome["status"] = 0;
    const authorization = presented === undefined ? {} : { authorization: `Bearer ${presented}` };
    const request = { headers: authorization, rawHeaders: [], socket: { remoteAddress: "192.0.2.1" } };
    const response = { statusCode: 0, setHeader: handler, end: () => (status = response.statusCode) };
    const onUndecided = (cause: unknown) => void told.push(cause);
    httpKeys.requireKey(verifier, { ...options, onUndecided })(request, response, () => (status = "let in"));
    return { status, told };
  }

  function throughGate(options: object, presented: string | undefined): Outcome {
    const told: unknown[] = [];
    const apiKey = presented === undefined ? [] : [presented];
    const admission = createGuard<string>(verifier, { ...options, onUndecided: (cause) => void told.push(cause) })({
      call: "a call",
      carrier: {},
      takeCredential: () => readCredential({ authorization: [], apiKey }),
      method: () => "/a.B/C",
      peer: "192.0.2.1",
      access: () => ({ scopes: [], anonymous: false }),
    });
    if (admission instanceof Promise) throw new Error("the verifier answers from memory");
    return { status: "refusal" in admission ? (admission.refusal.reason === "INTERNAL" ? 500 : 401) : "let in", told };
  }

  it.each([
    ["http", throughHttp, Object.keys(RIGHT)],
    ["every other door", throughGate, ["scopes", "anonymous", "clientIp"]],
  ] as const)("is INTERNAL, and onUndecided gets the reason: %s", async (_, through, names) => {
    const secret = verifier.addKey("unscoped");
    for (const name of names) {
      const wrong = VALUES.filter((value) => !RIGHT[name]?.(value));
      for (const give of [...wrong.map((value) => () => value), REJECTION]) {
        expect(through({ [name]: give }, secret), name).toEqual({ status: 500, told: [expect.any(TypeError)] });
      }
    }
    await new Promise((done) => setImmediate(done));
    expect(lost).toEqual([]);
  });

  it("lets no call in without a key", () => {
    for (const value of VALUES.filter((value) => value !== true)) {
      expect(throughHttp({ anonymous: () => value }, undefined).status, show(value)).not.toBe("let in");
    }
  });
});
