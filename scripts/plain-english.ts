/**
 * Finds sentences that plain, standard English would say differently. CONTRIBUTING.md has the rules; the patterns here are
 * those of which few matches are innocent. They are used by `npm run figures` and by test/repo/plain-english.test.ts.
 */

/** A construction to avoid, and the plain alternative for the error message. */
interface Pattern {
  readonly name: string;
  readonly expression: RegExp;
  readonly instead: string;
}

/** The beginning of a sentence, or of a part that stands like one. */
const START = "(?:^|[.!?;:] )";

export const PATTERNS: readonly Pattern[] = [
  {
    name: "indefinite pronoun as an actor",
    expression: /\b(?:whoever|whomever|whosever|nobody|somebody|everybody|anybody)(?:'s)?\b/gi,
    instead: "name the actor: client, caller, node, agent, server, operator",
  },
  {
    name: "who as a noun",
    expression: new RegExp(`(?:${START}|\\b(?:because|since|while|than) )who\\b(?![^.;]*\\?)[^.;,?]*`, "gi"),
    instead: "name the actor: “a client that …”, “the caller”",
  },
  {
    name: "what as a noun",
    expression: new RegExp(`${START}What\\b(?![^.;]*\\?)[^.;,?]*`, "g"),
    instead: "begin with the noun of the thing: “The columns that …”, “A request that …”",
  },
  {
    name: "what as an object",
    expression: /\b(?:for|of|from|under|with|by|than|beside|all|that|as) what (?!to\b)(?=\w+)/gi,
    instead: "name the thing: “the entries that …” in place of “of what …”",
  },
  {
    name: "told without an actor",
    expression: /\b(?:is|are|was|were|be|been|being|not|unless it is) told\b|(?:^|[.;:] )Told\b/g,
    instead: "name the actor and the act: “Called after each …”, “The server reports …”",
  },
  {
    name: "Of … as an opening",
    expression: /(?:^|[.!;] )Of (?!course)\w/g,
    instead: "begin with the noun: “The database that …”",
  },
  {
    name: "comes of",
    expression: /\b(?:comes?|came|become|becomes|became) of\b|\b[Mm]akes of\b/g,
    instead: "“the outcome of”, “turns … into”",
  },
  {
    name: "negation of the noun",
    expression: /\b(?:that|which|what|who) (?:is|are|was|were) (?:no|none)\b(?! (?:longer|more|less))/g,
    instead: "negate the verb: “a text that is not an address”",
  },
  {
    name: "be had",
    expression: /\b(?:be|is|are|was) had\b/g,
    instead: "“available”, “cannot be loaded”",
  },
  {
    name: "looked at",
    expression: /\b(?:is|are|was|were|be|been) (?:only |then )?looked (?:at|for)\b/g,
    instead: "name the actor and the act: “the server checks …”",
  },
  { name: "anew", expression: /\banew\b/g, instead: "“again”, or “on each call”" },
  {
    name: "that there is",
    expression: /\b(?:that|what|as) there (?:is|are|was|were)\b/g,
    instead: "“existing”, “current”",
  },
  {
    name: "as … has it",
    expression: /\bas [\w.-]+(?: (?:and|or) [\w.-]+)? ha(?:s|ve) it\b/gi,
    instead: "“in the form of …”",
  },
  {
    name: "another's",
    expression: /\b(?:another|one|no one|another one)'s\b/gi,
    instead: "name the owner: “other users' keys”",
  },
  {
    name: "elliptic comparison",
    expression: /\bless at once\b|\bwould only wait\b|, as (?:this|that) one\b|\bmay be so\b|\bthat can be so\b/g,
    instead: "say it in a whole sentence: “Retry with lower concurrency”",
  },
];

/** A text that people read: a comment, a string literal of a program, or a paragraph of a document. */
export interface Passage {
  readonly kind: "comment" | "string" | "paragraph";
  readonly text: string;
  /** The line that it begins on, from 1. */
  readonly line: number;
  readonly lines: number;
}

export interface Oddity {
  readonly line: number;
  readonly name: string;
  readonly match: string;
  readonly instead: string;
}

/** The oddities of the passages, in order. */
export function findOddities(passages: readonly Passage[]): Oddity[] {
  return passages.flatMap(({ text, line }) =>
    PATTERNS.flatMap(({ name, expression, instead }) =>
      [...text.replace(/`[^`]*`/g, "`…`").matchAll(expression)].map(([match]) => ({
        line,
        name,
        match: match.trim(),
        instead,
      })),
    ),
  );
}

/** Characters before a slash that begins a regular expression and does not divide. */
const BEFORE_REGEX = /(?:^|[(,=:[!&|?{};+\-*%<>~^]|\b(?:return|typeof|case|in|of|do|else|await|yield))\s*$/;

/** The comments and the string literals of a TypeScript or JavaScript source; line comments in a row are one. */
export function passagesOfCode(source: string): Passage[] {
  const passages: Passage[] = [];
  /** Templates that are open, with the depth of braces within their current expression. */
  const open: { text: string; begins: number; depth: number }[] = [];
  let at = 0;
  const lineAt = (index: number) => source.slice(0, index).split("\n").length;
  const add = (kind: Passage["kind"], raw: string, span: readonly [number, number]) => {
    const [begins, ends] = span;
    passages.push({ kind, text: raw, line: lineAt(begins), lines: source.slice(begins, ends).split("\n").length });
  };
  const readTemplate = () => {
    const template = open.at(-1);
    while (template && at < source.length) {
      const character = source[at];
      if (character === "`") {
        at++;
        open.pop();
        add("string", template.text, [template.begins, at]);
        return;
      }
      if (source.startsWith("${", at)) {
        at += 2;
        template.text += "…";
        template.depth = 0;
        return;
      }
      template.text += character === "\\" ? source.slice(at, at + 2) : character;
      at += character === "\\" ? 2 : 1;
    }
  };
  while (at < source.length) {
    const rest = source.slice(at, at + 2);
    const character = rest[0] ?? "";
    const began = at;
    if (rest === "//" || (rest === "#!" && at === 0)) {
      const [lines = ""] = /^[^\n]*(?:\n[ \t]*\/\/[^\n]*)*/.exec(source.slice(at)) ?? [];
      at += lines.length;
      const text = lines.replace(/\n[ \t]*\/\/ ?/g, " ").replace(/^(\/\/|#!) ?/, "");
      if (rest === "//") add("comment", text, [began, at]);
    } else if (rest === "/*") {
      const end = source.indexOf("*/", at + 2);
      at = end < 0 ? source.length : end + 2;
      const inner = source.slice(began + 2, at - 2).replace(/^\*?\s*(?:\*\s+)?/, "");
      add("comment", inner.replace(/\s*\n[ \t]*\*? ?/g, " ").trim(), [began, at]);
    } else if (character === '"' || character === "'") {
      const [literal = character] =
        new RegExp(`^${character}(?:\\\\.|[^\\\\${character}\\n])*${character}?`, "s").exec(source.slice(at)) ?? [];
      at += literal.length;
      add("string", literal.slice(1, -1), [began, at]);
    } else if (character === "`") {
      open.push({ text: "", begins: at++, depth: 0 });
      readTemplate();
    } else if (character === "/" && BEFORE_REGEX.test(source.slice(Math.max(0, at - 40), at))) {
      const [literal = "/"] = /^\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\//.exec(source.slice(at)) ?? [];
      at += literal.length;
    } else {
      at++;
      const template = open.at(-1);
      if (template && character === "{") template.depth++;
      if (template && character === "}" && template.depth-- === 0) readTemplate();
    }
  }
  return passages;
}

/** The paragraphs, list items and cells of a Markdown document, without headings, fenced blocks and code in backticks. */
export function passagesOfDocument(source: string): Passage[] {
  const passages: Passage[] = [];
  let isFenced = false;
  let current: { line: number; parts: string[] } | undefined;
  const end = () => {
    if (current) {
      const text = current.parts.join(" ").replace(/`[^`]*`/g, "`…`");
      passages.push({ kind: "paragraph", text, line: current.line, lines: current.parts.length });
    }
    current = undefined;
  };
  source.split("\n").forEach((line, index) => {
    const isFence = /^\s*(?:```|~~~)/.test(line);
    const isHeading = !isFenced && /^#+ /.test(line);
    if (isFence || line.trim() === "" || /^\s*(?:[-*+]|\d+\.|#+|\||>) ?/.test(line) || isFenced) end();
    if (isFence) isFenced = !isFenced;
    else if (!isFenced && !isHeading && line.trim() !== "") {
      current ??= { line: index + 1, parts: [] };
      current.parts.push(line.trim().replace(/^(?:[-*+]|\d+\.|#+|>) +/, ""));
    }
  });
  end();
  return passages;
}
