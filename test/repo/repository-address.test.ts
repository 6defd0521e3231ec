import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { REPOSITORY } from "../../testkit/repository-copy.ts";

/** The only file with the address; documents use relative links, and point readers to its `homepage`. */
const HOME = "package.json";

/** An address of this repository at a forge, at the placeholder of package.json, or as the path of a Go package. */
const ADDRESS = /\b[\w-]+\.(?:com|org|io|dev|net)[/:](?:[\w.-]+\/)?claviger(?:\.git)?(?![\w-]|\.v\d)/gi;

function addressesIn(text: string): string[] {
  return text.match(ADDRESS) ?? [];
}

it.runIf(existsSync(join(REPOSITORY, ".git")))(
  "No tracked file but package.json names the repository's address",
  () => {
    const listed = execFileSync("git", ["ls-files", "-z"], { cwd: REPOSITORY, encoding: "utf8", maxBuffer: 1e8 });
    const files = listed
      .split("\0")
      .filter((file) => file !== "" && file !== HOME && existsSync(join(REPOSITORY, file)));
    expect(files.length).toBeGreaterThan(500);
    const naming = files.filter((file) => addressesIn(readFileSync(join(REPOSITORY, file), "utf8")).length > 0);
    expect(naming.filter((file) => file !== "test/repo/repository-address.test.ts")).toEqual([]);
  },
);

it("package.json names one address: homepage, repository and issues agree", () => {
  const { homepage, repository, bugs } = JSON.parse(readFileSync(join(REPOSITORY, HOME), "utf8"));
  expect(addressesIn(homepage)).toHaveLength(1);
  expect(repository.url).toBe(`git+${homepage}.git`);
  expect(bugs).toBe(`${homepage}/issues`);
});

// The control: each form in which an address has been or could be written is found, and what only looks like one is not.
it.each([
  ["git clone https://github.com/claviger/claviger && cd claviger", 1],
  ["[One](https://github.com/claviger/claviger/blob/main/README.md)", 1],
  ["git@gitlab.com:someone/claviger.git", 1],
  ['go_package = "github.com/claviger/claviger/gen/go/claviger/v1"', 1],
  ["https://example.com/claviger", 1],
  ["/opt/claviger/bin, @claviger/sdk, https://keys.example.com/claviger.v1.KeyVerifier/Verify", 0],
  ["postgres://claviger@db.example.com/claviger_test", 0],
])("the search judges %j", (text, count) => {
  expect(addressesIn(text)).toHaveLength(count);
});
