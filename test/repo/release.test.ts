import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { parse } from "yaml";
import { REPOSITORY } from "../../testkit/repository-copy.ts";

interface Job {
  readonly uses?: string;
  readonly needs?: string;
  readonly permissions?: Readonly<Record<string, string>>;
  readonly steps?: readonly { readonly uses?: string; readonly run?: string }[];
}

interface Workflow {
  readonly on: Readonly<Record<string, unknown>>;
  readonly permissions: Readonly<Record<string, string>>;
  readonly jobs: Readonly<Record<string, Job>>;
}

const WORKFLOWS = join(REPOSITORY, ".github/workflows");
const read = (name: string): Workflow => parse(readFileSync(join(WORKFLOWS, name), "utf8"));
const runsOf = (job: Job | undefined) => job?.steps?.flatMap(({ run }) => run ?? []) ?? [];
const manifest = JSON.parse(readFileSync(join(REPOSITORY, "package.json"), "utf8"));

it("CI runs .ci/run for each change, and for a release", () => {
  const ci = read("ci.yml");
  expect(Object.keys(ci.on)).toEqual(expect.arrayContaining(["push", "pull_request", "workflow_call"]));
  expect(runsOf(ci.jobs.all)).toContain("bash .ci/run");
});

it("a release is published after CI has passed, both packages with provenance, and without a token of npm", () => {
  const { publish, checks } = read("release.yml").jobs;
  expect(checks?.uses).toBe("./.github/workflows/ci.yml");
  expect(publish).toMatchObject({ needs: "checks", permissions: { "id-token": "write" } });
  const steps = runsOf(publish);
  const inOrder = [
    "npm run sbom",
    "npm publish --provenance",
    "npm run build:sdk",
    "npm publish --provenance",
    "gh release",
  ];
  const found = steps.filter((step) => inOrder.some((start) => step.startsWith(start)));
  expect(found.map((step, index) => step.startsWith(inOrder[index] ?? "?"))).toEqual(inOrder.map(() => true));
  expect(readFileSync(join(WORKFLOWS, "release.yml"), "utf8")).not.toMatch(/secrets\.|NODE_AUTH_TOKEN/);
});

it("workflows read the repository alone unless a job says more, and pin each action", () => {
  const files = readdirSync(WORKFLOWS);
  expect(files.length).toBeGreaterThan(1);
  for (const file of files) {
    const { permissions, jobs } = read(file);
    expect(permissions).toEqual({ contents: "read" });
    const uses = Object.values(jobs).flatMap((job) => [job.uses, ...(job.steps ?? []).map((step) => step.uses)]);
    const actions = uses.filter((action) => action !== undefined && !action.startsWith("./"));
    expect(actions.filter((action) => !/@(v\d+(\.\d+)*|[0-9a-f]{40})$/.test(action ?? ""))).toEqual([]);
  }
});

it("changesets name the package whose version the SDK takes", () => {
  const folder = join(REPOSITORY, ".changeset");
  expect(JSON.parse(readFileSync(join(folder, "config.json"), "utf8"))).toMatchObject({ access: "public" });
  const changes = readdirSync(folder).filter((name) => name.endsWith(".md") && name !== "README.md");
  for (const name of changes) {
    expect(readFileSync(join(folder, name), "utf8")).toMatch(/^---\n"claviger": (patch|minor|major)\n---\n/);
  }
});

it("the bill of materials names every production dependency in its version, and no tool of development", () => {
  const folder = mkdtempSync(join(tmpdir(), "claviger-bill-"));
  try {
    const file = join(folder, "sbom.json");
    execFileSync(process.execPath, [join(REPOSITORY, "scripts/make-sbom.ts"), file], { cwd: folder, stdio: "pipe" });
    const { metadata, components } = JSON.parse(readFileSync(file, "utf8"));
    expect(metadata.component.purl).toBe(`pkg:npm/claviger@${manifest.version}`);
    const { packages } = JSON.parse(readFileSync(join(REPOSITORY, "package-lock.json"), "utf8"));
    const listed = new Map(components.map(({ name, version }: Record<string, string>) => [name, version]));
    const expected = Object.keys(manifest.dependencies).map((name) => [name, packages[`node_modules/${name}`].version]);
    expect(expected.length).toBeGreaterThan(10);
    expect(expected.map(([name]) => [name, listed.get(name)])).toEqual(expected);
    expect(Object.keys(manifest.devDependencies).filter((name) => listed.has(name))).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
