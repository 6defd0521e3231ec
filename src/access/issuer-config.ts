/** Signature algorithms that an issuer may be configured with: those of RFC 7518 and 8037 with a public key. */
export const SIGNATURE_ALGORITHMS: readonly string[] = [
  ...["RS256", "RS384", "RS512"],
  ...["PS256", "PS384", "PS512"],
  ...["ES256", "ES384", "ES512"],
  ...["EdDSA", "Ed25519"],
];

/** Where an issuer's public keys are. */
export type KeyLocation =
  | { readonly kind: "url"; readonly url: URL }
  | { readonly kind: "file"; readonly path: string }
  /** OpenID Connect Discovery 1.0: the document at `url` names the place. */
  | { readonly kind: "discovery"; readonly url: URL };

/** An issuer of user tokens that is trusted, and with what. */
export interface IssuerConfig {
  /** Exactly the `iss` of its tokens. */
  readonly issuer: string;
  /** A token has to be for one of these (`aud`). */
  readonly audiences: readonly string[];
  readonly keys: KeyLocation;
  /** A token has to be signed with one of these, whatever else its key could do. */
  readonly algorithms: readonly string[];
  /** What stands before `sub` in the names of this issuer's owners; no other issuer's prefix begins with it. */
  readonly ownerPrefix: string;
  /** Makes an administrator of whoever has it: a claim, by its name or dotted path, that is `value` or a list with it. */
  readonly adminClaim: { readonly name: string; readonly value: string } | undefined;
  /** How far the issuer's clock may be off, in seconds. */
  readonly clockToleranceSeconds: number;
}
