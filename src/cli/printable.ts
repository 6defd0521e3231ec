// Control characters other than newline and tab, and the marks that reorder text.
const UNPRINTABLE = /[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/**
 * Text from elsewhere as a terminal may show it: names and notes are chosen by others, and an escape sequence in one
 * could repaint the screen. What is not printable is written as `\u{1b}`; newlines stay.
 */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) =>
    character === "\n" ? character : `\\u{${character.codePointAt(0)?.toString(16)}}`,
  );
}
