import type { JWTPayload } from "jose";
import { isReservedOwner, ownerProblem } from "../keys/owner.ts";
import type { IssuerConfig } from "./issuer-config.ts";

/** The owner that the verified claims name; undefined if it cannot be an owner. */
export function ownerOf({ sub }: JWTPayload, { ownerPrefix }: IssuerConfig): string | undefined {
  if (typeof sub !== "string" || sub === "") return undefined;
  const owner = ownerPrefix + sub;
  return ownerProblem(owner) === undefined && !isReservedOwner(owner) ? owner : undefined;
}

/** Whether the verified claims make the user an administrator. */
export function hasAdminClaim(claims: JWTPayload, { adminClaim }: IssuerConfig): boolean {
  if (adminClaim === undefined) return false;
  const held = claimAt(claims, adminClaim.name);
  return Array.isArray(held) ? held.includes(adminClaim.value) : held === adminClaim.value;
}

/** A claim with exactly that name (`https://example.com/roles` contains dots) takes precedence over a path of names. */
function claimAt(claims: JWTPayload, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name];
  return name.split(".").reduce<unknown>((value, part) => {
    const inner = Object(value) as Record<string, unknown>;
    return Object.hasOwn(inner, part) ? inner[part] : undefined;
  }, claims);
}
