/** Longest message of an error, and longest value of its metadata, in UTF-16 units. */
const MOST_TEXT = 2000;
/** Longest name of a field, and longest description of a violation. */
const MOST_FIELD = 128;
const MOST_DESCRIPTION = 256;

/**
 * A text of an error, cut where it quotes too much of a request. A gRPC error travels in the header list, twice, and
 * Node (26) ends the whole connection with an error if that is longer than 64 KiB.
 */
export function shortenText(text: string): string {
  return shorten(text, MOST_TEXT);
}

/** The same, for a name of a field. */
export function shortenField(field: string): string {
  return shorten(field, MOST_FIELD);
}

/** The same, for the description of a violation. */
export function shortenDescription(description: string): string {
  return shorten(description, MOST_DESCRIPTION);
}

function shorten(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1).toWellFormed()}…`;
}
