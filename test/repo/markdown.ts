/** A heading of a Markdown text. */
export interface Heading {
  readonly level: number;
  /** As written, without an explicit anchor. */
  readonly title: string;
  /** The id that GitHub gives it. */
  readonly slug: string;
}

/** A link of a Markdown text to a file or a heading. */
export interface Link {
  readonly line: number;
  readonly target: string;
}

const HEADING = /^(#{1,6}) +(.+?)(?: +#+)? *$/;
const EXPLICIT_ANCHOR = /<a (?:id|name)="([^"]+)"> *<\/a>/g;
const INLINE_LINK = /\]\(<?([^()\s<>]+(?:\([^()\s]*\))?)>?(?: +"[^"]*")?\)/g;
const REFERENCE = /^ {0,3}\[[^\]]+\]: +<?(\S+?)>?(?: +"[^"]*")? *$/;

/** The headings of the text, each with the slug that GitHub makes of it; a repeated title gets a number. */
export function headingsOf(markdown: string): Heading[] {
  const seen = new Map<string, number>();
  return proseLines(markdown).flatMap(({ text }) => {
    const [, marks, written] = HEADING.exec(text) ?? [];
    if (marks === undefined || written === undefined) return [];
    const title = written.replace(EXPLICIT_ANCHOR, "").trim();
    const base = slugOf(title);
    const times = seen.get(base) ?? 0;
    seen.set(base, times + 1);
    return [{ level: marks.length, title, slug: times === 0 ? base : `${base}-${times}` }];
  });
}

/** Every fragment that leads somewhere in the text: the slugs of its headings and its explicit anchors. */
export function anchorsOf(markdown: string): Set<string> {
  const explicit = proseLines(markdown).flatMap(({ text }) =>
    Array.from(text.matchAll(EXPLICIT_ANCHOR), ([, id = ""]) => id),
  );
  return new Set([...headingsOf(markdown).map(({ slug }) => slug), ...explicit]);
}

/** The links of the text, inline ones and references, without those in code. */
export function linksOf(markdown: string): Link[] {
  return proseLines(markdown).flatMap(({ line, text }) => {
    const prose = text.replace(/(`+).+?\1/g, "code");
    const targets = Array.from(prose.matchAll(INLINE_LINK), ([, target = ""]) => target);
    const reference = REFERENCE.exec(prose)?.[1];
    return [...targets, ...(reference === undefined ? [] : [reference])].map((target) => ({ line, target }));
  });
}

/** GitHub's rule: lower case; letters, digits, `_`, `-` and spaces stay; each space becomes a hyphen. */
function slugOf(title: string): string {
  const shown = title.replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1").replace(/<[^>]+>/g, "");
  return shown
    .toLowerCase()
    .replace(/[^\p{L}\p{M}\p{N}\p{Pc}\- ]/gu, "")
    .replaceAll(" ", "-");
}

function proseLines(markdown: string): { readonly line: number; readonly text: string }[] {
  let fence: string | undefined;
  return markdown.split("\n").flatMap((text, index) => {
    const mark = /^\s*(`{3,}|~{3,})/.exec(text)?.[1];
    if (fence !== undefined) {
      if (mark?.startsWith(fence)) fence = undefined;
      return [];
    }
    fence = mark;
    return mark === undefined ? [{ line: index + 1, text }] : [];
  });
}
