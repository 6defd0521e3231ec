import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { REPOSITORY } from "../../testkit/repository-copy.ts";
import { sectionsOf } from "./pages.ts";

const SHELL = /^ *```(?:sh|bash|shell|console|zsh)\b/gm;

/** The shell blocks of one section, and the test file that runs them. */
interface Run {
  readonly blocks: number;
  readonly by: string;
}

/** By page and section. */
type Runs = Readonly<Record<string, Readonly<Record<string, Run>>>>;

const PAGES_TEST = "test/repo/pages.test.ts";
const PACK_TEST = "test/repo/pack.test.ts";
const SDK_PACK_TEST = "test/repo/sdk-pack.test.ts";
const POSTGRES_BACKUP_TEST = "test/packages/postgres-backup.test.ts";
const EMBEDDED_BACKUP_TEST = "test/packages/embedded-backup.test.ts";
const OPERATION_TEST = "test/repo/operation-pages.test.ts";

const RUNS: Runs = {
  "README.md": {
    "Quick start": { blocks: 2, by: PAGES_TEST },
    "Protect a service in five lines": { blocks: 2, by: SDK_PACK_TEST },
  },
  "docs/clients/cli.md": {
    "Call a server": { blocks: 1, by: PAGES_TEST },
    Secrets: { blocks: 1, by: PAGES_TEST },
    "Settings of a server": { blocks: 1, by: PAGES_TEST },
  },
  "docs/clients/go.md": { Go: { blocks: 2, by: PAGES_TEST } },
  "docs/clients/json.md": { JSON: { blocks: 1, by: PAGES_TEST } },
  "docs/clients/python.md": { Python: { blocks: 3, by: PAGES_TEST } },
  "docs/clients/typescript.md": { TypeScript: { blocks: 2, by: PACK_TEST } },
  "docs/manage/audit-log.md": { "Read and check the log": { blocks: 1, by: OPERATION_TEST } },
  "docs/manage/feature-flag.md": {
    "A file of rules": { blocks: 2, by: OPERATION_TEST },
    "Another source of flags": { blocks: 1, by: OPERATION_TEST },
  },
  "docs/manage/keys.md": { "Life of a key": { blocks: 1, by: OPERATION_TEST } },
  "docs/manage/leaked-secrets.md": { "Report a secret": { blocks: 1, by: OPERATION_TEST } },
  "docs/manage/usage-and-limits.md": { "See and limit the use of a key": { blocks: 1, by: OPERATION_TEST } },
  "docs/manage/users.md": {
    "Connect an issuer": { blocks: 1, by: OPERATION_TEST },
    "Call as a user": { blocks: 1, by: OPERATION_TEST },
  },
  "docs/operate/backup.md": {
    "Back up Postgres": { blocks: 1, by: POSTGRES_BACKUP_TEST },
    Postgres: { blocks: 1, by: POSTGRES_BACKUP_TEST },
    "Back up the embedded database": { blocks: 1, by: EMBEDDED_BACKUP_TEST },
    Embedded: { blocks: 1, by: EMBEDDED_BACKUP_TEST },
  },
  "docs/operate/monitoring.md": { "Look at a running cluster": { blocks: 1, by: OPERATION_TEST } },
  "docs/operate/postgres.md": { "Run on Postgres": { blocks: 1, by: PAGES_TEST } },
  "docs/operate/redis.md": { "Run with Redis": { blocks: 1, by: OPERATION_TEST } },
  "docs/operate/roles.md": { "Set up the roles": { blocks: 1, by: OPERATION_TEST } },
  "docs/security.md": { "What each caller can do": { blocks: 1, by: OPERATION_TEST } },
};

/** Shell blocks that no test runs, by page and section, with the reason. */
const NOT_RUN: Readonly<
  Record<string, Readonly<Record<string, { readonly blocks: number; readonly because: string }>>>
> = {
  "docs/operate/docker.md": {
    "Try it": { blocks: 1, because: "no Docker engine runs where tests run; they run the steps of the files" },
    "Build the image": { blocks: 1, because: "the same" },
  },
  "docs/operate/kubernetes.md": {
    Install: { blocks: 2, because: "needs a cluster; tests render and check the chart" },
  },
  "docs/operate/systemd.md": { Install: { blocks: 1, because: "needs a running systemd; tests check the unit" } },
};

/** Differences between the shell blocks of pages and the lists of them. */
function differences(pages: ReadonlyMap<string, string>, runs: Runs, notRun: typeof NOT_RUN = {}): string[] {
  const found: string[] = [];
  for (const [page, text] of pages) {
    for (const [section, body] of sectionsOf(text)) {
      const has = body.match(SHELL)?.length ?? 0;
      const listed = (runs[page]?.[section]?.blocks ?? 0) + (notRun[page]?.[section]?.blocks ?? 0);
      if (has !== listed) found.push(`${page}, "${section}": ${has} shell blocks, of which ${listed} are listed`);
    }
  }
  for (const [page, sections] of [...Object.entries(runs), ...Object.entries(notRun)]) {
    const text = pages.get(page);
    const headings = text === undefined ? undefined : sectionsOf(text);
    for (const section of Object.keys(sections)) {
      if (headings?.has(section) !== true) found.push(`${page}, "${section}": listed, and not there`);
    }
  }
  return found;
}

/** Listed test files that do not read the page. */
function strangers(runs: Runs, sourceOf: (file: string) => string): string[] {
  return Object.entries(runs).flatMap(([page, sections]) =>
    Object.values(sections)
      .filter(({ by }) => !sourceOf(by).includes(`"${page}"`))
      .map(({ by }) => `${by} does not read ${page}`),
  );
}

function readPages(): Map<string, string> {
  const paths = ["README.md", ...globSync("docs/**/*.md", { cwd: REPOSITORY })];
  return new Map(paths.sort().map((path) => [path, readFileSync(join(REPOSITORY, path), "utf8")]));
}

describe("README.md and the pages in docs/", () => {
  it("have no shell block that no test runs, but those that are listed with a reason", () => {
    expect(differences(readPages(), RUNS, NOT_RUN)).toEqual([]);
    expect(strangers(RUNS, (file) => readFileSync(join(REPOSITORY, file), "utf8"))).toEqual([]);
  });
});

describe("the check of shell blocks", () => {
  const RUN = { "docs/a.md": { Use: { blocks: 1, by: "a.test.ts" } } };
  const block = "```sh\nclaviger health\n```\n";

  it.each([
    ["is content with listed blocks", `# A\n\n## Use\n\n${block}`, []],
    [
      "finds a block more",
      `# A\n\n## Use\n\n${block}${block}`,
      ['docs/a.md, "Use": 2 shell blocks, of which 1 are listed'],
    ],
    [
      "finds a block in another section",
      `# A\n\n${block}\n## Use\n\n${block}`,
      ['docs/a.md, "A": 1 shell blocks, of which 0 are listed'],
    ],
    [
      "finds a block in a list, of another shell's name",
      `# A\n\n## Use\n\n${block}\n- so:\n\n  \`\`\`console\n  claviger health\n  \`\`\`\n`,
      ['docs/a.md, "Use": 2 shell blocks, of which 1 are listed'],
    ],
    ["finds a listed section that is gone", "# A\n", ['docs/a.md, "Use": listed, and not there']],
  ])("%s", (_, text, expected) => {
    expect(differences(new Map([["docs/a.md", text]]), RUN)).toEqual(expected);
  });

  it("takes a block that is listed with a reason", () => {
    const notRun = { "docs/b.md": { B: { blocks: 1, because: "it takes an hour" } } };
    expect(differences(new Map([["docs/b.md", `# B\n\n${block}`]]), {}, notRun)).toEqual([]);
  });

  it("finds a listed test file that does not read the page", () => {
    expect(strangers(RUN, () => 'readPage(folder, "docs/a.md")')).toEqual([]);
    expect(strangers(RUN, () => 'readPage(folder, "docs/b.md")')).toEqual(["a.test.ts does not read docs/a.md"]);
  });

  it("begins no section at a comment of a shell block", () => {
    expect([...sectionsOf("# A\n\n```sh\n# Comment\n```\n").keys()]).toEqual(["A"]);
  });
});
