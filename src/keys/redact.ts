const SECRET = /_(live|test)_[0-9A-Za-z]{20,}/g;

/** The text with everything that looks like a secret, of any brand, replaced: people paste secrets into other fields. */
export function redactSecrets(text: string): string {
  return text.replaceAll(SECRET, "_$1_[redacted]");
}

/** Whether the text holds what `redactSecrets` would replace. */
export function looksLikeSecret(text: string): boolean {
  return text.search(SECRET) !== -1;
}

/** A path as a message may show it: a secret that was put in its place is left out. */
export function shownPath(path: string): string {
  const isEncoded = /^[\w+/,=-]{40,}$/.test(path) && (/[+,=]/.test(path) || !/^[/~]/.test(path));
  const isSecret = looksLikeSecret(path) || path.includes("://") || path.startsWith("eyJ") || isEncoded;
  return isSecret ? "something that does not look like a path" : path;
}
