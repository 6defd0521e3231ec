import { describe, expect, it } from "vitest";
import { describeAddress, parseAddress } from "./address.ts";

const hostsOf = (url: string) => parseAddress(url).hosts.map(({ host, port }) => `${host} ${port}`);

describe("the address of a Postgres", () => {
  it.each([
    ["postgres://u@h/db", ["h 5432"]],
    ["postgresql://u@h:6000/db", ["h 6000"]],
    ["postgres://u@h1:5433,h2:5434/db", ["h1 5433", "h2 5434"]],
    [
      "postgres://u@h1,[::1]:5434,10.0.0.1/db?target_session_attrs=read-write",
      ["h1 5432", "::1 5434", "10.0.0.1 5432"],
    ],
    ["postgres://u@/db?host=/run/postgresql", ["/run/postgresql 5432"]],
    ["postgres:///db?host=/run/postgresql&port=5433&user=u", ["/run/postgresql 5433"]],
    ["postgres://u@%2Frun%2Fpostgresql:5433/db", ["/run/postgresql 5433"]],
    ["postgres://u@/db?host=h1,h2&port=5433", ["h1 5433", "h2 5433"]],
    ["postgres://u@/db?host=h1,h2&port=5433,5434", ["h1 5433", "h2 5434"]],
    ["postgres:///db", ["localhost 5432"]],
  ])("%s leads to %j", (url, hosts) => {
    expect(hostsOf(url)).toEqual(hosts);
  });

  it("takes user, password and database from either place, percent-decoded", () => {
    const password = "p@ss/w:o#r?d%&é 'x\\";
    const credentials = { user: "a@b", password, database: "d b" };
    const inUrl = `postgres://a%40b:${encodeURIComponent(password)}@h/d%20b`;
    expect(parseAddress(inUrl)).toMatchObject(credentials);
    const query = new URLSearchParams({ user: "a@b", password, dbname: "d b" });
    expect(parseAddress(`postgres://h/?${query}`)).toMatchObject(credentials);
    expect(parseAddress("postgres://u:p:w@h/db")).toMatchObject({ user: "u", password: "p:w" });
    expect(parseAddress("postgres://h")).toMatchObject({ user: undefined, password: undefined, database: undefined });
  });

  it("is shown without its credentials", () => {
    const address = parseAddress("postgres://user:pass@h1:5433,[::1]/db?password=other");
    expect(describeAddress(address)).toBe("h1:5433,[::1]:5432/db");
  });

  const PIECES = /hunter|swordfish|secret/;

  it.each(["@", "/", "#", "?", "@/", "/@", "?@", "#@", "%"])("is refused where a password holds %s", (character) => {
    for (const rest of ["h/db", "h1:5433,h2/db?sslmode=require"]) {
      const url = `postgres://user:hunter${character}swordfish@${rest}`;
      expect(() => parseAddress(url)).toThrow("Percent-encode");
      expect(() => parseAddress(url)).not.toThrow(PIECES);
    }
  });

  it.each([
    ...["mysql://user:secret@h/db", "host=h password=secret", "socket:/run?db=secret", "h", ""],
    ...["postgres://user:secret/db", "postgres://user:p@[h/db", "postgres://u@h:99999/db", "postgres://u@h:0/db"],
    ...["postgres://u@se cret/db", "postgres://u@secret:5432:1/db", "postgres://u@/db?host=a,b,c&port=1,2"],
  ])("is refused, naming the form to use, where it is %s", (url) => {
    expect(() => parseAddress(url)).toThrow("postgres://user:password@host:5432/database");
    expect(() => parseAddress(url)).not.toThrow(PIECES);
  });

  it.each(["any", "read-write", "primary"])("may ask for servers that are %s", (attributes) => {
    expect(hostsOf(`postgres://h/db?target_session_attrs=${attributes}`)).toEqual(["h 5432"]);
  });

  it.each(["standby", "prefer-standby", "read-only"])("may not ask for servers that are %s", (attributes) => {
    expect(() => parseAddress(`postgres://h/db?target_session_attrs=${attributes}`)).toThrow("Set read-write");
  });
});
