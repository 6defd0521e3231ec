import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Route } from "./route.ts";

describe("the ways to reach a Postgres", () => {
  let folder: string;
  let root: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "claviger-route-"));
    root = join(folder, "ca.crt");
    writeFileSync(root, "the root");
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** How each way is secured, in their order. */
  function securedBy(query: string): string[] {
    return new Route(`postgres://u@h/db?${query.replace("ROOT", root)}`).ways.map((way) => {
      const { ssl } = way.config();
      if (ssl === false || typeof ssl !== "object") return "plain";
      if (ssl.rejectUnauthorized === false) return "unverified";
      const whose = ssl.ca === undefined ? "" : ` by ${ssl.ca}`;
      return `${ssl.checkServerIdentity === undefined ? "full" : "authority"}${whose}`;
    });
  }

  it.each([
    ["", ["plain"]],
    ["sslmode=disable", ["plain"]],
    ["sslmode=allow", ["plain", "unverified"]],
    ["sslmode=prefer", ["unverified", "plain"]],
    ["sslmode=require", ["unverified"]],
    ["sslmode=require&sslrootcert=ROOT", ["authority by the root"]],
    ["sslmode=verify-ca&sslrootcert=ROOT", ["authority by the root"]],
    ["sslmode=verify-ca", ["full"]],
    ["sslmode=verify-full", ["full"]],
    ["sslmode=verify-full&sslrootcert=ROOT", ["full by the root"]],
    ["sslmode=verify-full&sslrootcert=system", ["full"]],
    ["sslmode=require&sslrootcert=system", ["full"]],
    ["sslmode=no-verify", ["unverified"]],
    ["sslrootcert=ROOT", ["full by the root"]],
    ["ssl=true", ["full"]],
    ["ssl=no-verify", ["unverified"]],
  ])("with %j they are %j", (query, secured) => {
    expect(securedBy(query)).toEqual(secured);
  });

  it("are refused where the sslmode is unknown", () => {
    expect(() => new Route("postgres://h/db?sslmode=requir")).toThrow("verify-full");
  });

  it("are plain on a socket, whatever the sslmode", () => {
    const { ways } = new Route("postgres://u@/db?host=/run/postgresql,h&sslmode=require");
    expect(ways.map((way) => way.config().ssl)).toEqual([false, { rejectUnauthorized: false }]);
  });

  it("read a certificate again for each connection", () => {
    const [way] = new Route(`postgres://h/db?sslmode=verify-full&sslrootcert=${root}`).ways;
    writeFileSync(root, "a newer root");
    expect(way?.config().ssl).toEqual({ ca: "a newer root" });
  });

  it("begin with the one that did not fail last, however many had tried it at once", () => {
    const route = new Route("postgres://u@h1,h2,h3/db");
    const [first, second, third] = route.ways;
    for (let i = 0; i < 3; i++) if (first !== undefined) route.failed(first);
    expect(route.current).toBe(second);
    if (second !== undefined) route.failed(second);
    expect(route.current).toBe(third);
    if (third !== undefined) route.failed(third);
    expect(route.current).toBe(first);
  });
});
