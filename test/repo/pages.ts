import { readFileSync } from "node:fs";
import { join } from "node:path";

/** A page of the documentation. */
export interface Page {
  /** Its path from the root of the repository. */
  readonly path: string;
  /** The text under each heading, up to the next heading of any level. */
  readonly sections: ReadonlyMap<string, string>;
}

/** A fenced block of a page. */
export interface Block {
  /** `sh`, `ts`, `toml`, … */
  readonly language: string;
  readonly text: string;
  /** The file name in the first line of a program. */
  readonly file: string | undefined;
}

/** A difference between the text of a page and the text that a test runs. `find` must occur: none can become stale. */
export interface Substitution {
  readonly find: string;
  readonly replace: string;
}

export function readPage(folder: string, path: string): Page {
  return { path, sections: sectionsOf(readFileSync(join(folder, path), "utf8")) };
}

/** The text under each heading. A `#` inside a fenced block begins no section. */
export function sectionsOf(text: string): Map<string, string> {
  const sections = new Map<string, string>();
  let heading: string | undefined;
  let isFenced = false;
  for (const line of text.split("\n")) {
    if (/^ *```/.test(line)) isFenced = !isFenced;
    const [, found] = (isFenced ? null : /^#{1,6} (.+)$/.exec(line)) ?? [];
    if (found !== undefined) {
      if (sections.has(found)) throw new Error(`two sections are called ${JSON.stringify(found)}; rename one`);
      sections.set(found, "");
      heading = found;
    } else if (heading !== undefined) {
      sections.set(heading, `${sections.get(heading)}${line}\n`);
    }
  }
  return sections;
}

/** The blocks of a section, with all substitutions made. */
export function blocksOf(page: Page, section: string, substitutions: readonly Substitution[] = []): Block[] {
  const text = page.sections.get(section);
  if (text === undefined) throw new Error(`${page.path} has no section ${JSON.stringify(section)}; correct the test`);
  return blocksIn(text, substitutions);
}

/** The blocks of all sections of a page in their order, with all substitutions made. */
export function allBlocksOf(page: Page, substitutions: readonly Substitution[] = []): Block[] {
  return blocksIn([...page.sections.values()].join(""), substitutions);
}

function blocksIn(text: string, substitutions: readonly Substitution[]): Block[] {
  const substituted = substitutions.reduce((current, { find, replace }) => {
    if (!current.includes(find)) throw new Error(`a page lacks ${JSON.stringify(find)}; correct the substitution`);
    return current.replaceAll(find, () => replace);
  }, text);
  return [...substituted.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, language = "", body = ""]) => ({
    language,
    text: body,
    file: /^(?:#|\/\/) (\S+\.\w+)\n/.exec(body)?.[1],
  }));
}
