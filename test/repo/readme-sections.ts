import { readFileSync } from "node:fs";
import { join } from "node:path";

/** A fenced block of the README. */
export interface Block {
  /** `sh`, `ts`, `toml`, … */
  readonly language: string;
  readonly text: string;
  /** What the first line of a program says that its file is called. */
  readonly file: string | undefined;
}

/** One difference between what the README says and what a test runs. `find` must occur, so that none can rot. */
export interface Substitution {
  readonly section: string;
  readonly find: string;
  readonly replace: string;
}

/** The text under each heading of `folder`'s README, up to the next heading of any level. */
export function readSections(folder: string): Map<string, string> {
  const text = readFileSync(join(folder, "README.md"), "utf8");
  const [, ...parts] = text.split(/^#{1,3} (?=[A-Z])/m);
  return new Map(parts.map((part) => [part.slice(0, part.indexOf("\n")), part.slice(part.indexOf("\n") + 1)]));
}

/** The blocks of a section with all its substitutions made. */
export function blocksOf(
  sections: ReadonlyMap<string, string>,
  section: string,
  substitutions: readonly Substitution[] = [],
): Block[] {
  const text = sections.get(section);
  if (text === undefined) throw new Error(`README.md has no section ${JSON.stringify(section)}; correct the test`);
  const substituted = substitutions
    .filter((substitution) => substitution.section === section)
    .reduce((current, { find, replace }) => {
      if (!current.includes(find))
        throw new Error(`${section} lacks ${JSON.stringify(find)}; correct the substitution`);
      return current.replaceAll(find, () => replace);
    }, text);
  return [...substituted.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, language = "", body = ""]) => ({
    language,
    text: body,
    file: /^(?:#|\/\/) (\S+\.\w+)\n/.exec(body)?.[1],
  }));
}
