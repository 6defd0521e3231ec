/** Whether a value is a JSON object: neither null nor a list. */
export function isObject<Value = unknown>(value: unknown): value is Readonly<Record<string, Value>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The JSON object in a text; undefined for all other texts. Never throws: the parser's own message repeats the text. */
export function parseObject<Value = unknown>(text: string): Readonly<Record<string, Value>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject<Value>(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
