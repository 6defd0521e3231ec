import type { KeptHead } from "./verify-chain.ts";

/** A signed head as JSON, to be kept elsewhere. */
export function headToJson({ sequence, hash, signature }: KeptHead): string {
  const { rootId, mac } = signature;
  return JSON.stringify({ sequence, hash: hash.toString("hex"), root: rootId, signature: mac.toString("hex") });
}

/** The head that `headToJson` wrote; undefined if the text is something else. */
export function headFromJson(text: string): KeptHead | undefined {
  const value = parse(text);
  if (typeof value !== "object" || value === null) return undefined;
  const { sequence, hash, root, signature } = value as Readonly<Record<string, unknown>>;
  if (typeof sequence !== "number" || typeof root !== "string") return undefined;
  if (!isHex32(hash) || !isHex32(signature)) return undefined;
  return {
    sequence,
    hash: Buffer.from(hash, "hex"),
    signature: { rootId: root, mac: Buffer.from(signature, "hex") },
  };
}

function isHex32(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
