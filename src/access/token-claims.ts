import type { JWTPayload } from "jose";
import type { IssuerConfig } from "./issuer-config.ts";

const RESERVED_OWNERS = "claviger:";
const MAX_OWNER_BYTES = 255;

/** The owner that the verified claims name; undefined if that cannot be one. */
export function ownerOf({ sub }: JWTPayload, { ownerPrefix }: IssuerConfig): string | undefined {
  if (typeof sub !== "string" || sub === "") return undefined;
  const owner = ownerPrefix + sub;
  // Lone surrogates all become U+FFFD in UTF-8: two subjects would be one owner.
  if (!owner.isWellFormed() || /\p{Cc}/u.test(owner) || owner.startsWith(RESERVED_OWNERS)) return undefined;
  return Buffer.byteLength(owner) <= MAX_OWNER_BYTES ? owner : undefined;
}

/** Whether the verified claims make an administrator. */
export function hasAdminClaim(claims: JWTPayload, { adminClaim }: IssuerConfig): boolean {
  if (adminClaim === undefined) return false;
  const held = claimAt(claims, adminClaim.name);
  return Array.isArray(held) ? held.includes(adminClaim.value) : held === adminClaim.value;
}

/** A claim of that very name (`https://example.com/roles` has dots of its own) goes before a path of names. */
function claimAt(claims: JWTPayload, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name];
  return name.split(".").reduce<unknown>((value, part) => {
    const inner = Object(value) as Record<string, unknown>;
    return Object.hasOwn(inner, part) ? inner[part] : undefined;
  }, claims);
}
