import { expect, it } from "vitest";
import { sourceFiles } from "./imports.ts";

it("no server is made of node:http2: only clients import it", () => {
  const importers = sourceFiles()
    .filter(({ imports }) => imports.includes("node:http2"))
    .map(({ path }) => path);
  expect(importers.length).toBeGreaterThan(0);
  for (const path of importers) expect(path).toMatch(/^src\/(sdk|server\/canary|cli)\//);
});
