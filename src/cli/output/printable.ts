// Control characters, and format characters: those that reorder text, and those that show nothing.
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/**
 * Text from elsewhere in a form that is safe on a terminal: other people choose names and notes, and an escape sequence
 * in one could repaint the screen. Characters that are not printable are written as `\u{1b}`; newlines stay.
 */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) =>
    character === "\n" ? character : `\\u{${character.codePointAt(0)?.toString(16)}}`,
  );
}

/** JSON text as a terminal may show it, and as any program reads it: the same characters as JSON escapes. */
export function printableJson(json: string): string {
  return json.replace(UNPRINTABLE, (character) =>
    character === "\n" ? character : [...Array(character.length).keys()].map((at) => escapeOf(character, at)).join(""),
  );
}

function escapeOf(character: string, at: number): string {
  return `\\u${character.charCodeAt(at).toString(16).padStart(4, "0")}`;
}

/** East Asian wide and full-width characters of UAX #11, unassigned gaps inside the blocks included. */
const WIDE =
  /[\u1100-\u115f\u231a\u231b\u2329\u232a\u2e80-\u303e\u3041-\u3247\u3250-\u4dbf\u4e00-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe19\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{16fe0}-\u{18cff}\u{1aff0}-\u{1b2ff}\u{1f200}-\u{1f265}\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}/u;
/** Characters drawn over the character before them. */
const COMBINING = /^[\p{Mn}\p{Me}]+$/u;
/** Shows the character before it as an emoji. */
const EMOJI_SELECTOR = "\ufe0f";

/** How many cells of a terminal a text takes, as far as terminals agree. The text is printable. */
export function widthOf(text: string): number {
  return /^[\x20-\x7e]*$/.test(text) ? text.length : graphemesOf(text).reduce((sum, each) => sum + cellsOf(each), 0);
}

/** Cuts a text to so many cells, the last of which is then `…`. */
export function cutTo(text: string, cells: number): string {
  if (widthOf(text) <= cells) return text;
  let cut = "";
  let left = cells - 1;
  for (const grapheme of graphemesOf(text)) {
    left -= cellsOf(grapheme);
    if (left < 0) break;
    cut += grapheme;
  }
  return `${cut}…`;
}

/**
 * Breaks a text at spaces into lines of at most so many cells. A command in backticks stays on one line, to be copied;
 * that and a word may be longer than a line.
 *
 * @param cells undefined: the text stays as it is
 */
export function wrapTo(text: string, cells: number | undefined): string {
  if (cells === undefined) return text;
  return text
    .split("\n")
    .map((line) => wrapLine(line, cells))
    .join("\n");
}

function wrapLine(line: string, cells: number): string {
  if (widthOf(line) <= cells) return line;
  const [first = "", ...words] = line.match(/^\s*\S+|(?:`[^`]*`|\S)+/g) ?? [];
  let width = widthOf(first);
  let wrapped = first;
  for (const word of words) {
    const wide = widthOf(word);
    const fits = width + 1 + wide <= cells;
    wrapped += `${fits ? " " : "\n"}${word}`;
    width = fits ? width + 1 + wide : wide;
  }
  return wrapped;
}

function graphemesOf(text: string): string[] {
  return Array.from(new Intl.Segmenter("en", { granularity: "grapheme" }).segment(text), ({ segment }) => segment);
}

function cellsOf(grapheme: string): number {
  if (COMBINING.test(grapheme)) return 0;
  return WIDE.test(grapheme) || grapheme.includes(EMOJI_SELECTOR) ? 2 : 1;
}
