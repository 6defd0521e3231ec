/** A token (RFC 9110, section 5.6.2) without upper case (RFC 9113, section 8.2.1). */
const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
/** Visible characters and bytes above ASCII, with spaces and tabs only between them (RFC 9110, section 5.5). */
const VALUE = /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/;

/** Fields that speak of a connection of HTTP/1.1 (RFC 9113, section 8.2.2). */
const OF_CONNECTION: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
]);

/** A reason why HTTP/2 does not allow the name of a field that is not a pseudo-header; it quotes nothing. */
export function faultOfName(name: string): string | undefined {
  if (!NAME.test(name)) return "a field name is empty or has a character that is not allowed";
  if (OF_CONNECTION.has(name)) return `the field ${name} belongs to HTTP/1.1`;
  return undefined;
}

/** Whether a value, as latin1, has no control character but inner tabs, and no space at either end. */
export function isFieldValue(value: string): boolean {
  return VALUE.test(value);
}
