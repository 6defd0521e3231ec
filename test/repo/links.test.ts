import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { anchorsOf, headingsOf, linksOf } from "./markdown.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** What the links of one text are compared with. */
interface Repository {
  /** Whether there is a file or folder; its path is relative to the root. */
  readonly exists: (path: string) => boolean;
  readonly read: (path: string) => string;
}

const REPOSITORY: Repository = {
  exists: (path) => existsSync(join(ROOT, path)),
  read: (path) => readFileSync(join(ROOT, path), "utf8"),
};

/** Each relative link of the file that leads nowhere, and why. */
function brokenLinks(path: string, repository: Repository): string[] {
  const anchors = new Map<string, Set<string>>();
  const anchorsIn = (page: string) => {
    const known = anchors.get(page) ?? anchorsOf(repository.read(page));
    anchors.set(page, known);
    return known;
  };
  return linksOf(repository.read(path)).flatMap(({ line, target }) => {
    if (/^[a-z][a-z0-9+.-]*:/i.test(target)) return [];
    const [file = "", fragment] = target.split("#").map(decodeURIComponent);
    const linked = file === "" ? path : normalize(join(dirname(path), file)).replace(/\/$/, "");
    if (linked.startsWith("..") || !repository.exists(linked)) return [`${path}:${line}: ${target}: no such file`];
    if (fragment === undefined || !linked.endsWith(".md")) return [];
    return anchorsIn(linked).has(fragment) ? [] : [`${path}:${line}: ${target}: no such heading`];
  });
}

describe.runIf(existsSync(join(ROOT, ".git")))("a relative link of a tracked Markdown file", () => {
  const { stdout } = spawnSync("git", ["ls-files", "-z", "--", "*.md"], { cwd: ROOT, encoding: "utf8" });
  const pages = stdout.split("\0").filter((path) => path !== "" && existsSync(join(ROOT, path)));

  it("leads to a file that exists, and its fragment to a heading", () => {
    expect(pages).toContain("README.md");
    expect(pages.flatMap((path) => linksOf(REPOSITORY.read(path))).length).toBeGreaterThan(50);
    expect(pages.flatMap((path) => brokenLinks(path, REPOSITORY))).toEqual([]);
  });
});

describe("control: among the links of a page", () => {
  const texts = new Map([
    ["docs/page.md", ""],
    ["docs/other.md", '# Other\n\n### R5: a rule <a id="r5"></a>\n\n```sh\n# No heading\n```\n'],
  ]);
  const brokenIn = (text: string) => {
    const repository: Repository = {
      exists: (path) => texts.has(path),
      read: (path) => (path === "docs/page.md" ? text : (texts.get(path) ?? "")),
    };
    return brokenLinks("docs/page.md", repository);
  };

  it.each([
    ["a missing file", "[x](gone.md)", "no such file"],
    ["a missing file of a reference", "[x]: gone.md", "no such file"],
    ["a path out of the repository", "[x](../../other.md)", "no such file"],
    ["a missing heading", "[x](other.md#gone)", "no such heading"],
    ["a comment in a block that looks like a heading", "[x](other.md#no-heading)", "no such heading"],
    ["a missing heading of the page itself", "[x](#gone)", "no such heading"],
    ["a fragment in the wrong case", "[x](other.md#R5)", "no such heading"],
  ])("%s is found", (_what, text, why) => {
    expect(brokenIn(`one\n\n${text}\n`)).toEqual([expect.stringMatching(new RegExp(`^docs/page\\.md:3: .*${why}$`))]);
  });

  it.each([
    ["a heading", "[x](other.md#other)"],
    ["an explicit anchor", "[x](other.md#r5)"],
    ["the slug of a heading with an anchor", "[x](other.md#r5-a-rule)"],
    ["an address", "[x](https://example.com/gone#gone)"],
    ["code", "`[x](gone.md)`"],
    ["a block", "```md\n[x](gone.md)\n```"],
  ])("%s is not", (_what, text) => {
    expect(brokenIn(text)).toEqual([]);
  });
});

it("headings have the ids that GitHub gives them", () => {
  const text =
    "# `@claviger/sdk` & more\n## What “immediate” means\n## 1. The driver\n## A_b - c\n## Again\n## Again\n";
  expect(headingsOf(text).map(({ slug }) => slug)).toEqual([
    "clavigersdk--more",
    "what-immediate-means",
    "1-the-driver",
    "a_b---c",
    "again",
    "again-1",
  ]);
});
