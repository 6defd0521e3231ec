import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { REPOSITORY } from "../../testkit/repository-copy.ts";
import { findCycle, importsOf, reach, roomOf, type SourceFile, sourceFiles } from "./imports.ts";

/** Which rooms a room may import. A room that is missing here may not exist: decide its place first. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  system: [],
  keys: ["system"],
  wire: ["#gen", "keys"],
  verify: ["system", "keys"],
  revocation: ["system", "keys", "verify"],
  postgres: ["system", "keys", "revocation"],
  usage: ["system", "keys", "verify", "postgres"],
  audit: ["system", "keys", "postgres"],
  redis: ["system", "keys", "usage", "revocation"],
  access: ["system", "keys", "verify"],
  manage: ["system", "keys", "verify", "revocation", "usage", "audit", "access", "postgres"],
  rpc: ["#gen", "system", "keys", "wire", "verify", "revocation", "usage", "audit", "access", "manage"],
  http2: ["system"],
  transport: ["#gen", "system", "wire", "http2", "rpc", "verify"],
  gateways: ["#gen", "system", "keys", "wire", "usage", "rpc", "transport"],
  sdk: ["#gen", "system", "keys", "wire", "verify", "usage"],
  server: [
    "#gen",
    "system",
    "keys",
    "verify",
    "revocation",
    "usage",
    "audit",
    "access",
    "manage",
    "postgres",
    "redis",
    "rpc",
    "transport",
    "gateways",
  ],
  cli: ["#gen", "system", "keys", "wire", "server", "sdk"],
};

/** The only file that sees both the inside (storage) and the outside (RPCs, sockets). */
const COMPOSE = "src/server/compose.ts";

/** What can hold no pure code: files, sockets, processes, timers and drivers. */
const IMPURE =
  /^(node:(fs|net|tls|http|http2|https|dgram|dns|child_process|worker_threads|timers|process|os)\b|postgres$|@electric-sql\/|drizzle-orm|ioredis|redis$|pino)/;
/** What an agent has only if it uses it: each stays in the folder that is named after it. */
const FRAMEWORK = /^(@grpc\/grpc-js|express|fastify)$/;
const SQL = /^(drizzle-orm|pg$)/;
const DRIVER = /^(postgres$|@electric-sql\/|drizzle-orm|ioredis|redis$)/;

function forbiddenEdges(files: readonly SourceFile[]): string[] {
  return files.flatMap(({ path, imports }) => {
    const from = roomOf(path);
    if (from === undefined) return [];
    return imports
      .filter((imported) => {
        const to = roomOf(imported);
        return to !== undefined && to !== from && !MAY_IMPORT[from]?.includes(to);
      })
      .map((imported) => `${path} → ${imported}`);
  });
}

function importsMatching(files: readonly SourceFile[], pattern: RegExp): string[] {
  return files.flatMap(({ path, imports }) =>
    imports.filter((imported) => pattern.test(imported)).map((imported) => `${path} → ${imported}`),
  );
}

/** What in `sdk/` reaches a framework from outside the folder that is named after it. */
function frameworksOutside(files: readonly SourceFile[]): string[] {
  return inRoom(files, "sdk").flatMap(({ path }) =>
    [...reach(path, files)]
      .filter((reached) => FRAMEWORK.test(reached) && !path.startsWith(`src/sdk/${reached.replace(/^.*\//, "")}/`))
      .map((reached) => `${path} → ${reached}`),
  );
}

const inRoom = (files: readonly SourceFile[], ...rooms: string[]) =>
  files.filter(({ path }) => rooms.includes(roomOf(path) ?? ""));

describe("the imports of src/", () => {
  const files = sourceFiles();

  test("stay within the table of rooms", () => {
    expect(files.length).toBeGreaterThan(0);
    expect(files.map(({ path }) => roomOf(path)).filter((room) => room && !(room in MAY_IMPORT))).toEqual([]);
    expect(forbiddenEdges(files)).toEqual([]);
  });

  test("are those of the table on the page of the architecture", () => {
    const page = readFileSync(join(REPOSITORY, "docs/architecture.md"), "utf8");
    const rows = [...page.matchAll(/^\| \[(\w+)\]\(\.\.\/src\/\1\) \| [^|]+ \| ([^|]+) \|$/gm)];
    const shown = rows.map(([, room = "", imports = ""]) => [room, imports === "–" ? [] : imports.split(", ")]);
    const held = Object.entries(MAY_IMPORT).map(([room, imports]) => [
      room,
      imports.map((one) => one.replace("#", "")),
    ]);
    expect(Object.fromEntries(shown)).toEqual(Object.fromEntries(held));
  });

  test("have no cycle", () => {
    expect(findCycle(files)).toBeUndefined();
  });

  test("leave keys/ pure: no files, no network, no timers, no driver, no log", () => {
    expect(importsMatching(inRoom(files, "keys"), IMPURE)).toEqual([]);
  });

  test("bring drivers only into the rooms of the data, and into server/", () => {
    const others = files.filter(({ path }) => !["postgres", "redis", "server"].includes(roomOf(path) ?? ""));
    expect(importsMatching(others, DRIVER)).toEqual([]);
  });

  test("let only postgres/ write SQL", () => {
    const others = files.filter(({ path }) => roomOf(path) !== "postgres");
    expect(importsMatching(others, SQL)).toEqual([]);
    expect(importsMatching(inRoom(files, "postgres"), SQL), "control").not.toEqual([]);
  });

  test("let sdk/ reach no driver by any way", () => {
    const reached = inRoom(files, "sdk").flatMap(({ path }) => [...reach(path, files)]);
    expect(reached.filter((path) => DRIVER.test(path) || ["postgres", "redis"].includes(roomOf(path) ?? ""))).toEqual(
      [],
    );
  });

  test("keep the frameworks of agents in folders of their own", () => {
    expect(frameworksOutside(files)).toEqual([]);
  });

  test("join storage to the RPCs and the port in one file", () => {
    const seers = inRoom(files, "server").filter(({ imports }) => {
      const rooms = imports.map(roomOf);
      return rooms.includes("transport") && (rooms.includes("rpc") || rooms.includes("manage"));
    });
    expect(seers.map(({ path }) => path)).toEqual([COMPOSE]);
  });
});

describe("the control: on a bad tree", () => {
  const bad: SourceFile[] = [
    { path: "src/keys/a.ts", imports: ["src/verify/b.ts", "node:fs/promises"] },
    { path: "src/verify/b.ts", imports: ["src/keys/a.ts", "postgres"] },
    { path: "src/sdk/c.ts", imports: ["src/verify/b.ts", "src/sdk/grpc-js/d.ts"] },
    { path: "src/sdk/grpc-js/d.ts", imports: ["@grpc/grpc-js"] },
  ];

  test("every rule speaks up", () => {
    expect(forbiddenEdges(bad)).toEqual(["src/keys/a.ts → src/verify/b.ts"]);
    expect(findCycle(bad)).toEqual(["src/keys/a.ts", "src/verify/b.ts", "src/keys/a.ts"]);
    expect(importsMatching(bad, IMPURE)).toEqual(["src/keys/a.ts → node:fs/promises", "src/verify/b.ts → postgres"]);
    expect(reach("src/sdk/c.ts", bad)).toContain("postgres");
    expect(frameworksOutside(bad)).toEqual(["src/sdk/c.ts → @grpc/grpc-js"]);
  });

  test("every way to write an import is seen", () => {
    const source = [
      'import type { A } from "../keys/a.ts";',
      'import {\n  b,\n  type C as D,\n} from "./b.ts";',
      'export * from "node:fs";',
      'import "./effect.ts";',
      'const later = await import("./later.ts");',
      "const text = 'not from \"nowhere\";';",
    ].join("\n");
    expect(importsOf("src/verify/x.ts", source)).toEqual([
      "src/keys/a.ts",
      "src/verify/b.ts",
      "node:fs",
      "src/verify/effect.ts",
      "src/verify/later.ts",
    ]);
  });
});
