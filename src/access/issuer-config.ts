import type { JWTPayload } from "jose";
import { isReservedOwner, ownerProblem } from "../keys/owner.ts";
/** Signature algorithms that a configuration may name: those of RFC 7518 and 8037 with a public key. */
export const SIGNATURE_ALGORITHMS: readonly string[] = [
  ...["RS256", "RS384", "RS512"],
  ...["PS256", "PS384", "PS512"],
  ...["ES256", "ES384", "ES512"],
  ...["EdDSA", "Ed25519"],
];

/** The location of an issuer's public keys. */
export type KeyLocation =
  | { readonly kind: "url"; readonly url: URL }
  | { readonly kind: "file"; readonly path: string }
  /** OpenID Connect Discovery 1.0: the document at `url` names the location. */
  | { readonly kind: "discovery"; readonly url: URL };

/** A trusted issuer of user tokens, and the extent of the trust. */
export interface IssuerConfig {
  /** The exact `iss` of its tokens. */
  readonly issuer: string;
  /** A token must name one of these as `aud`. */
  readonly audiences: readonly string[];
  readonly keys: KeyLocation;
  /** A token must be signed with one of these, whatever other algorithms its key supports. */
  readonly algorithms: readonly string[];
  /** Prefix of `sub` in the names of this issuer's owners. No other issuer's prefix begins with it. */
  readonly ownerPrefix: string;
  /** A claim that makes its user an administrator: a name or a dotted path whose value is `value` or a list with it. */
  readonly adminClaim: { readonly name: string; readonly value: string } | undefined;
  /** Tolerance for the issuer's clock, in seconds. */
  readonly clockToleranceSeconds: number;
}

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
