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
