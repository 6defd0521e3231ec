import { readFileSync } from "node:fs";

/** Cases of a suite that are known to fail, from a file of lines `case: reason`; `#` begins a comment. */
export function readKnownExceptions(file: URL): ReadonlyMap<string, string> {
  const lines = readFileSync(file, "utf8").split("\n");
  return new Map(lines.filter((line) => line !== "" && !line.startsWith("#")).map(parse));
}

function parse(line: string): [name: string, reason: string] {
  const at = line.lastIndexOf(" -- ");
  if (at === -1) throw new Error(`no reason in "${line}"; write "case -- reason"`);
  return [line.slice(0, at).trim(), line.slice(at + 4).trim()];
}
