import { globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { DrizzleQueryError } from "drizzle-orm";
import { describe, expect, it } from "vitest";
import { findEmbeddedPostgres, findSystemPostgres } from "../../testkit/postgres-binaries.ts";
import {
  describeOutage,
  explainAborted,
  explainNoWrites,
  isAway,
  mayPass,
  translateError,
  UnfitSession,
} from "./errors.ts";

/**
 * Every SQLSTATE of Postgres' appendix that is an error, by class, and whether it says nothing about the statement, so
 * that nothing was decided. `!` marks the codes that differ from the rest of their class.
 */
const APPENDIX: readonly (readonly [outcome: "away" | "refused", codes: string])[] = [
  ["refused", "03: 000"],
  ["away", "08: 000 001 003 004 006 007 P01"],
  ["refused", "09: 000"],
  ["away", "0A: 000"],
  ["refused", "0B: 000"],
  ["refused", "0F: 000 001"],
  ["refused", "0L: 000 P01"],
  ["refused", "0P: 000"],
  ["refused", "0Z: 000 002"],
  ["refused", "10: 608"],
  ["refused", "20: 000"],
  ["refused", "21: 000"],
  [
    "refused",
    "22: 000 001 002 003 004 005 007 008 009 00B 00C 00D 00F 00G 00H 00L 00M 00N 00S 00T 010 011 012 013 014 015 016 018 019 01B 01E 01F 01G 01W 01X 021 022 023 024 025 026 027 02E 02G 02H 030 031 032 033 034 035 036 037 038 039 03A 03B 03C 03D 03E 03F 03G P01 P02 P03 P04 P05 P06",
  ],
  ["refused", "23: 000 001 502 503 505 514 P01"],
  ["refused", "24: 000"],
  ["refused", "25: 000 001 002 003 004 005 !006 007 008 P01 P02 !P03 !P04"],
  ["away", "26: 000"],
  ["refused", "27: 000"],
  ["away", "28: 000 P01"],
  ["refused", "2B: 000 P01"],
  ["refused", "2D: 000"],
  ["refused", "2F: 000 002 003 004 005"],
  ["refused", "34: 000"],
  ["refused", "38: 000 001 002 003 004"],
  ["refused", "39: 000 001 004 P01 P02 P03"],
  ["refused", "3B: 000 001"],
  ["away", "3D: 000"],
  ["refused", "3F: 000"],
  ["away", "40: 000 001 002 003 P01"],
  [
    "refused",
    "42: 000 !501 601 602 611 622 701 702 703 704 710 712 723 725 803 804 809 830 846 883 8C9 939 P01 P02 P03 P04 !P05 P06 P07 P08 P09 P10 P11 P12 P13 P14 P15 P16 P17 P18 P19 P20 P21 P22",
  ],
  ["refused", "44: 000"],
  ["away", "53: 000 100 200 300 400"],
  ["refused", "54: 000 001 011 023"],
  ["away", "55: 000 006 P02 P03 P04"],
  ["away", "57: 000 014 P01 P02 P03 P04 P05"],
  ["away", "58: 000 030 P01 P02 P03"],
  ["away", "72: 000"],
  ["away", "F0: 000 001"],
  [
    "refused",
    "HV: 000 001 002 004 005 006 007 008 009 00A 00B 00C 00D 00J 00K 00L 00M 00N 00P 00Q 00R 010 014 021 024 090 091",
  ],
  ["refused", "P0: 000 001 002 003 004"],
  ["away", "XX: 000 001 002"],
];

const postgresError = (code: string, more: object = {}) =>
  Object.assign(new Error(`postgres says ${code}`), { code, severity: "ERROR", ...more });
const wrapped = (cause: Error) => new DrizzleQueryError("select $1", ["a parameter"], cause);
const outcomeOf = (error: Error) => {
  const translated = translateError(wrapped(error));
  expect(translated.message).not.toContain("a parameter");
  return "reason" in translated && translated.reason === "STORAGE_UNAVAILABLE" ? "away" : "refused";
};

describe("an error of Postgres", () => {
  it.each(APPENDIX)("is %s: %s", (outcome, text) => {
    const [letters = "", codes = ""] = text.split(": ");
    const other = outcome === "away" ? "refused" : "away";
    const wrong = codes
      .split(" ")
      .filter(
        (code) =>
          outcomeOf(postgresError(letters + code.replace("!", ""))) !== (code.startsWith("!") ? other : outcome),
      );
    expect(wrong).toEqual([]);
  });

  const installed = globSync(join(dirname(findEmbeddedPostgres() ?? findSystemPostgres() ?? ""), "**/errcodes.txt"));
  it.skipIf(installed.length === 0)("is decided here for each code that the installed Postgres has", () => {
    const text = readFileSync(installed[0] ?? "", "utf8");
    const codes = text.split("\n").flatMap((line) => /^(\w{5})\s+E\s/.exec(line)?.[1] ?? []);
    const decided = new Set(
      APPENDIX.flatMap(([, list]) => {
        const [letters = "", rest = ""] = list.split(": ");
        return rest.split(" ").map((code) => letters + code.replace("!", ""));
      }),
    );
    expect(codes.length).toBeGreaterThan(200);
    expect(codes.filter((code) => !decided.has(code))).toEqual([]);
  });

  it("that ends the session is away, whatever its code: the connection was refused", () => {
    for (const code of ["22023", "42704", "42601", "0P000"]) {
      expect(outcomeOf(postgresError(code))).toBe("refused");
      expect(outcomeOf(postgresError(code, { severity: "FATAL" }))).toBe("away");
    }
  });
});

describe("an error of the connection", () => {
  it.each([
    ...["ECONNREFUSED", "ECONNRESET", "EPIPE", "ENOENT", "ENOTFOUND", "EAI_AGAIN", "ETIMEDOUT", "EHOSTUNREACH"],
    ...["ENETUNREACH", "ECONNABORTED", "EMFILE", "EADDRNOTAVAIL", "EACCES", "EPROTO"],
    ...["CERT_HAS_EXPIRED", "DEPTH_ZERO_SELF_SIGNED_CERT", "SELF_SIGNED_CERT_IN_CHAIN", "ERR_TLS_CERT_ALTNAME_INVALID"],
    ...["UNABLE_TO_VERIFY_LEAF_SIGNATURE", "ERR_SSL_WRONG_VERSION_NUMBER"],
  ])("%s is away", (code) => {
    expect(outcomeOf(Object.assign(new Error("no"), { code }))).toBe("away");
  });

  it.each([
    ...["Connection terminated unexpectedly", "Connection terminated due to connection timeout", "timeout expired"],
    ...["timeout exceeded when trying to connect", "Query read timeout", "The server does not support SSL connections"],
    "SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string",
  ])("%s is away", (message) => {
    expect(outcomeOf(new Error(message))).toBe("away");
  });

  it("a session that cannot give right answers is away", () => {
    expect(outcomeOf(new UnfitSession("its encoding is LATIN1"))).toBe("away");
  });
});

describe("a start", () => {
  it.each([
    ...["08001", "08006", "53300", "57P01", "57P03", "58030", "25006"],
    ...["ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "EHOSTUNREACH", "EAI_AGAIN"],
  ])("tries again after %s", (code) => {
    expect(mayPass(Object.assign(new Error("no"), { code }))).toBe(true);
  });

  it.each(["timeout expired", "Connection terminated unexpectedly", "Query read timeout"])(
    "tries again after %s",
    (message) => {
      expect(mayPass(translateError(new Error(message)))).toBe(true);
    },
  );

  it.each([
    "server login has been failing, try again later (server_login_retry)",
    "pgbouncer cannot connect to server",
    "query_wait_timeout",
    "no more connections allowed (max_client_conn)",
    "the pooler is shut down now",
  ])("tries again after %s, the answer of a pooler whose Postgres is away", (message) => {
    expect(mayPass(Object.assign(new Error(message), { code: "08P01", severity: "FATAL" }))).toBe(true);
  });

  it("ends at once after an unsupported startup parameter, which a pooler refuses for good", () => {
    const message = "unsupported startup parameter: options";
    expect(mayPass(Object.assign(new Error(message), { code: "08P01", severity: "FATAL" }))).toBe(false);
  });

  it.each([
    ...["28P01", "28000", "3D000", "42501", "55000", "08P01", "42P01", "22023"],
    ...["ENOTFOUND", "ENOENT", "CERT_HAS_EXPIRED", "ERR_SSL_WRONG_VERSION_NUMBER"],
  ])("ends at once after %s, which an operator must mend", (code) => {
    expect(mayPass(Object.assign(new Error("no"), { code }))).toBe(false);
  });

  it("ends at once when a password, TLS or the session is wrong, and after a defect of our own", () => {
    const errors = [new Error("SASL: no password"), new Error("The server does not support SSL connections")];
    for (const error of [...errors, new UnfitSession("its encoding is LATIN1"), new TypeError("x is undefined")]) {
      expect(mayPass(error)).toBe(false);
    }
  });
});

it("the error that broke a transaction stands for those of the statements after it, and for no other", () => {
  const withCode = (code: string) => Object.assign(new Error("later"), { code });
  const first = new Error("first");
  for (const code of ["25P02", "26000"]) expect(explainAborted(withCode(code), first)).toBe(first);
  const other = withCode("23505");
  expect(explainAborted(other, first)).toBe(other);
  const alone = withCode("26000");
  expect(explainAborted(alone, undefined)).toBe(alone);
});

it("a defect of our own stays one", () => {
  for (const defect of [new Error("table revision has lost its row"), new TypeError("x is undefined")]) {
    expect(isAway(defect)).toBe(false);
  }
  expect(isAway(Object.assign(new TypeError("bad"), { code: "ERR_INVALID_ARG_TYPE" }))).toBe(false);
  expect(isAway(undefined)).toBe(false);
});

it("what only a transaction pooler brings about says which setting to use", () => {
  const hint = "set CLAVIGER_LEASE_DATABASE_URL to a direct connection";
  for (const code of ["26000", "42P05"]) expect(describeOutage(wrapped(postgresError(code)))).toContain(hint);
  const refused = postgresError("08P01", { message: "unsupported startup parameter: options", severity: "FATAL" });
  expect(describeOutage(translateError(refused))).toContain(hint);
  expect(describeOutage(postgresError("57P01"))).toBe("postgres says 57P01");
});

describe("a change that storage cannot write", () => {
  const file = "/var/lib/x/base/5/1";
  const full = /^the disk of the database is full\. Free space /;
  const readOnly = /^the database is read-only\. Mount its disk for writing, or /;

  it.each([
    ["a full disk", postgresError("53100", { message: `could not extend file "${file}"` }), full],
    ["a full disk under the process", Object.assign(new Error(`write ${file}`), { code: "ENOSPC" }), full],
    ["a full quota", postgresError("58030", { message: `could not write "${file}": Disk quota exceeded` }), full],
    ["a standby", postgresError("25006", { message: "cannot execute INSERT in a read-only transaction" }), readOnly],
    ["a read-only disk under the process", Object.assign(new Error(`open ${file}`), { code: "EROFS" }), readOnly],
    [
      "a read-only disk",
      postgresError("42501", { message: `could not open "${file}": Read-only file system` }),
      readOnly,
    ],
  ])("names its cause and what to do, to clients without a file, and to the log with it (%s)", (_, error, cause) => {
    const away = translateError(wrapped(error));
    expect(away).toMatchObject({ reason: "STORAGE_UNAVAILABLE" });
    expect(explainNoWrites(away)).toMatch(cause);
    expect(explainNoWrites(away)).not.toContain(file);
    expect(describeOutage(away)).toMatch(cause);
    expect(describeOutage(away)).toContain(error.message);
  });

  it.each(["42501", "53300", "57P01", "58030"])("has no such cause for %s", (code) => {
    expect(explainNoWrites(translateError(wrapped(postgresError(code))))).toBeUndefined();
  });
});
