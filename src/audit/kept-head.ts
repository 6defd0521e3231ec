import type { KeptHead } from "./verify-chain.ts";

/** Encodes a signed head as JSON, for a copy outside the database. */
export function headToJson({ sequence, hash, signature }: KeptHead): string {
  const { rootId, mac } = signature;
  return JSON.stringify({ sequence, hash: hash.toString("hex"), root: rootId, signature: mac.toString("hex") });
}

/** Parses the output of `headToJson`; undefined for any other text. */
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
