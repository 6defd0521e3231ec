import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { findOddities, type Passage, passagesOfCode, passagesOfDocument } from "../../scripts/plain-english.ts";
import { REPOSITORY } from "../../testkit/repository-copy.ts";

const CODE = /^(?:src|scripts|bench|bin|testkit)\/.*(?<!\.test)\.(?:ts|js|mjs)$/;
/** The patterns themselves, and texts of others. */
const EXEMPT = ["scripts/plain-english.ts", "scripts/figures.ts"];

/** Messages that other tests compare, or that name the Unix user. Change the former together with those tests. */
const COMPARED = [
  "cannot be had. Try again in a moment",
  "what counts them does not answer",
  "user postgres or nobody",
];

const paragraph = (text: string): Passage => ({ kind: "paragraph", text, line: 1, lines: 1 });

function passagesOf(file: string, text: string): Passage[] {
  if (file.endsWith(".md")) return passagesOfDocument(text);
  return passagesOfCode(text).filter((passage) => {
    if (passage.kind === "comment") return true;
    // A literal of one word is a name or a code.
    return /\w \w/.test(passage.text) && !COMPARED.some((message) => passage.text.includes(message));
  });
}

function checkedFiles(): string[] {
  const listed = execFileSync("git", ["ls-files", "-z"], { cwd: REPOSITORY, encoding: "utf8", maxBuffer: 1e8 });
  return listed
    .split("\0")
    .filter((file) => (CODE.test(file) || file.endsWith(".md")) && !EXEMPT.includes(file))
    .filter((file) => existsSync(join(REPOSITORY, file)));
}

it.runIf(existsSync(join(REPOSITORY, ".git")))("Comments, messages and documents are in plain English", () => {
  const files = checkedFiles();
  expect(files.length).toBeGreaterThan(100);
  const problems = files.flatMap((file) =>
    findOddities(passagesOf(file, readFileSync(join(REPOSITORY, file), "utf8"))).map(
      ({ line, name, match, instead }) => `${file}:${line}: ${JSON.stringify(match)} (${name}). Instead: ${instead}`,
    ),
  );
  expect(problems).toEqual([]);
});

// The controls: sentences that were in this repository are found, and their plain versions are not.
const PAIRS = [
  [
    "A span that another clock has measured, as this one may count it: over early, never late.",
    "Converts a duration measured by another clock into one that this clock can safely count: it may end early, never late.",
  ],
  [
    "What it could not be told is not granted: nobody is to wait for that.",
    "A lease that cannot be delivered is not recorded, so that no revocation waits for it.",
  ],
  [
    "Once a call: what comes of one whose caller has been answered already, or is gone, is nobody's affair.",
    "Logs each call once; later outcomes of the same call are ignored.",
  ],
  ["nobody may call X. Report it", "method X has no permission rule. This is a server defect; please report it"],
  [
    "128 secrets are being read already, and more would only wait. Retry in a moment, less at once",
    "too many concurrent secret look-ups (limit 128). Retry shortly with lower concurrency",
  ],
  ["To a user, another's key is not there.", "Users get `KEY_NOT_FOUND` for other users' keys."],
  ["Of an error that ends many calls, they are made once.", "Caches the trailers of errors that are sent repeatedly."],
  ["Told of each attempt that failed.", "Called after each failed attempt."],
  ["False for what is no address.", "False for a text that is not an address."],
  ["Who is alone is not told so.", "A server without peers gets no such message."],
  ["The keys cannot be had.", "The keys cannot be loaded."],
  ["Rows are looked at one by one.", "The fold reads rows one by one."],
] as const;

describe("the check", () => {
  it.each(PAIRS)("finds %j", (odd) => {
    expect(findOddities([paragraph(odd)])).not.toEqual([]);
  });

  it.each(PAIRS)("has nothing against the plain version of %j", (_, plain) => {
    expect(findOddities([paragraph(plain)])).toEqual([]);
  });

  it.each([
    "Says what is wrong and what to do.",
    "What happens if Redis is away, or slow?",
    "| What it means | What to do |",
    "That is no reason to fail.",
    "Who may change a key?",
    "The owner, who need not be the caller, may revoke it.",
    "One of two, of course.",
  ])("has nothing against %j", (sentence) => {
    expect(findOddities([paragraph(sentence)])).toEqual([]);
  });

  it("reads comments over several lines, literals and templates, and no code", () => {
    const source = [
      "#!/usr/bin/env node",
      "/**",
      " * One thing,",
      " * and nobody.",
      " */",
      "const nobody = a / b; // Two,",
      "// then three.",
      `const text = "four \\" // five" + \`six \${call({ seven: "eight" })} nine\`;`,
      `const slash = /["'\`]/.test(text) ? 'ten' : "";`,
    ].join("\n");
    expect(passagesOfCode(source).map(({ kind, text, line }) => [kind, text, line])).toEqual([
      ["comment", "One thing, and nobody.", 2],
      ["comment", "Two, then three.", 6],
      ["string", 'four \\" // five', 8],
      ["string", "eight", 8],
      ["string", "six … nine", 8],
      ["string", "ten", 9],
      ["string", "", 9],
    ]);
  });

  it("reads documents without their code", () => {
    const text = "# What it is\n\nOne `nobody`\ntwo.\n- item\n\n```sh\n# whoever\n```\n| cell | whoever |\n";
    expect(passagesOfDocument(text).map((passage) => [passage.text, passage.line])).toEqual([
      ["One `…` two.", 3],
      ["item", 5],
      ["| cell | whoever |", 10],
    ]);
    expect(findOddities(passagesOfDocument(text))).toMatchObject([{ line: 10, match: "whoever" }]);
  });
});
