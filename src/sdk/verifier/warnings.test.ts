import { Code, ConnectError } from "@connectrpc/connect";
import { beforeEach, describe, expect, it } from "vitest";
import { FakeClocks } from "../../../testkit/fakes/fake-clocks.ts";
import type { VerifierWarning } from "./verifier-warning.ts";
import { Warnings } from "./warnings.ts";

const DAY_MS = 86_400_000;
const URL = "http://claviger:4640";

let clocks: FakeClocks;
let told: VerifierWarning[];
let warnings: Warnings;

beforeEach(() => {
  clocks = new FakeClocks();
  told = [];
  warnings = new Warnings({ clocks, onWarning: (warning) => void told.push(warning) });
});

const codes = () => told.map(({ code }) => code);
const node = (code: string) => Object.assign(new Error(`connect ${code}`), { code });
const failed = (code: string) => new ConnectError("failed", Code.Unavailable, undefined, undefined, node(code));

describe("a verifier that cannot work", () => {
  it.each<[string, unknown, { code: string; says: RegExp; isPermanent: boolean }]>([
    [
      "a refused connection",
      failed("ECONNREFUSED"),
      says("SERVER_UNREACHABLE", /at http:\/\/claviger:4640 \(ECONNR/, false),
    ],
    ["an unknown host", failed("ENOTFOUND"), says("HOST_NOT_FOUND", /Correct url, or CLAVIGER_URL/, true)],
    ["a resolver that is away", failed("EAI_AGAIN"), says("SERVER_UNREACHABLE", /\(EAI_AGAIN\)/, false)],
    ["TLS to a cleartext port", failed("ERR_SSL_WRONG_VERSION_NUMBER"), says("NO_TLS", /Write http:/, true)],
    [
      "a certificate of an unknown authority",
      failed("DEPTH_ZERO_SELF_SIGNED_CERT"),
      says("CERTIFICATE_REFUSED", /Pass its authority as nodeOptions: \{ ca \}/, true),
    ],
    ["a server of HTTP/1", failed("ERR_HTTP2_ERROR"), says("NOT_A_SERVER", /a proxy must forward HTTP\/2/, true)],
    [
      "another service",
      new ConnectError("404", Code.Unimplemented),
      says("NOT_A_SERVER", /is not a Claviger server/, true),
    ],
    [
      "a connection that is closed at once",
      new ConnectError("closed", Code.Canceled),
      says("SERVER_UNREACHABLE", /if the port uses TLS, write https:/, false),
    ],
    [
      "a bad key",
      new ConnectError("it is bad", Code.Unauthenticated),
      says("TOKEN_REFUSED", /\(it is bad\)\. Create a/, true),
    ],
    [
      "a key without the scope",
      new ConnectError("no", Code.PermissionDenied),
      says("TOKEN_LACKS_SCOPE", /lacks the scope claviger:verify\. Create a/, true),
    ],
    ["something unknown", "thrown", says("SERVER_UNREACHABLE", /\(no answer\)/, false)],
  ])("warns of %s, and says what to do", (_, error, expected) => {
    const { isPermanent } = warnings.met(error, URL);
    expect(told).toMatchObject([{ code: `CLAVIGER_${expected.code}`, message: expect.stringMatching(expected.says) }]);
    expect(isPermanent).toBe(expected.isPermanent);
  });

  function says(code: string, message: RegExp, isPermanent: boolean) {
    return { code, says: message, isPermanent };
  }

  it("warns of each cause once, and again only after a recovery and a minute", async () => {
    for (const code of ["ECONNREFUSED", "ECONNREFUSED", "ENOTFOUND", "ECONNREFUSED"]) warnings.met(failed(code), URL);
    expect(codes()).toEqual(["CLAVIGER_SERVER_UNREACHABLE", "CLAVIGER_HOST_NOT_FOUND"]);
    await clocks.pass(3_600_000);
    warnings.met(failed("ECONNREFUSED"), URL);
    expect(told).toHaveLength(2);
    warnings.over();
    warnings.met(failed("ECONNREFUSED"), URL);
    expect(told).toHaveLength(3);
    warnings.over();
    await clocks.pass(59_000);
    warnings.met(failed("ECONNREFUSED"), URL);
    expect(told).toHaveLength(3);
  });

  it("shows no secret of an error", () => {
    const secret = `clv_live_${"a".repeat(49)}`;
    warnings.met(new ConnectError(`bad ${secret}`, Code.Unauthenticated), URL);
    warnings.met(new ConnectError(`bad ${secret}`, Code.Unknown), URL);
    expect(told.map(({ message }) => message).join()).not.toContain(secret);
  });
});

describe("the end of the verifier's own key", () => {
  const endIn = (days: number) => new Date(clocks.wallMs() + days * DAY_MS);

  it("is announced 14, 3 and 1 days before, once each", async () => {
    const end = endIn(20);
    const toldOn: number[] = [];
    for (let day = 0; day <= 20; day += 0.5) {
      const before = told.length;
      warnings.tokenEnds(end);
      warnings.tokenEnds(end);
      if (told.length > before) toldOn.push(20 - day);
      await clocks.pass(DAY_MS / 2);
    }
    expect(toldOn).toEqual([14, 3, 1]);
    expect(new Set(codes())).toEqual(new Set(["CLAVIGER_TOKEN_ENDS"]));
    expect(told[0]?.message).toContain(`expires at ${end.toISOString()}, in less than 14 days`);
  });

  it("is announced once at a start with little time left, and again for another key", () => {
    warnings.tokenEnds(endIn(2));
    expect(told).toHaveLength(1);
    expect(told[0]?.message).toMatch(/in less than 3 days.*Rotate it/);
    warnings.tokenEnds(endIn(90));
    warnings.tokenEnds(endIn(0.5));
    expect(told).toHaveLength(2);
  });

  it("can be read, and is unknown for a key without an end", () => {
    expect(warnings.tokenExpireTime).toBeUndefined();
    const end = endIn(90);
    warnings.tokenEnds(end);
    expect([warnings.tokenExpireTime, told]).toEqual([end, []]);
    warnings.tokenEnds(undefined);
    expect(warnings.tokenExpireTime).toBeUndefined();
  });
});
