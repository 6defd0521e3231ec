import { createHash } from "node:crypto";
import { decodeJwt, type JWTPayload, jwtVerify } from "jose";
import { LRUCache } from "lru-cache";
import { ClavigerError } from "../keys/errors.ts";
import type { Clock } from "../system/clocks.ts";
import type { CallOrigin, UserCaller } from "./caller.ts";
import { hasAdminClaim, type IssuerConfig, ownerOf } from "./issuer-config.ts";
import { issuerUnavailable, KeySet } from "./key-set.ts";
import { type Fetch, loadKeys } from "./load-keys.ts";
import { refusalOf, tokenRefused } from "./token-refused.ts";

/**
 * Longer tokens are refused unread. The limit equals that of all headers of a call (`maxHeaderBytes` of the policy),
 * since some issuers put hundreds of groups into a token.
 */
export const MAX_TOKEN_BYTES = 16 * 1024;

export interface UserAuthenticatorLimits {
  /** Milliseconds that one load of an issuer's keys may take. Default 5,000. */
  readonly fetchTimeoutMs: number;
  /**
   * Minimum milliseconds between loads of an issuer's keys that unknown keys cause. Default 30,000: a flood of invented
   * keys is no load on the issuer, and issuers publish keys well before they use them.
   */
  readonly cooldownMs: number;
  /**
   * Milliseconds after which keys are loaded again, and therefore until a withdrawn key is refused. Default 600,000.
   */
  readonly refreshMs: number;
  /**
   * Milliseconds between loads while an issuer has no keys at all. Default 1,000, the value of `RetryInfo` for clients.
   */
  readonly retryMs: number;
  /** Number of verified tokens that are remembered. Default 10,000, about 8 MB. */
  readonly cachedTokens: number;
}

export interface UserAuthenticatorOptions {
  readonly issuers: readonly IssuerConfig[];
  /** Scopes, possibly wildcards, that users may grant. */
  readonly grantableScopes: readonly string[];
  readonly clock: Clock;
  /** Default `globalThis.fetch`. */
  readonly fetch?: Fetch;
  readonly limits?: Partial<UserAuthenticatorLimits>;
  /**
   * Called if an issuer's keys could not be loaded, at most once in `retryMs` for an issuer, or if one of its keys
   * cannot be used. Never called about a token.
   */
  readonly onWarning: (problem: string, issuer: string) => void;
  /** Called after each load of an issuer's keys. Optional. */
  readonly onLoaded?: (issuer: string) => void;
}

export interface UserAuthenticator {
  /**
   * Identifies the user of the token.
   *
   * @throws ClavigerError `CREDENTIAL_INVALID`, with a `TokenRefusal` as `cause` in its metadata.
   * @throws ClavigerError `ISSUER_UNAVAILABLE`: the token could not be checked.
   */
  authenticate(token: string, origin: CallOrigin): Promise<UserCaller>;
  /** Aborts the loads that are under way. */
  close(): void;
}

interface Issuer {
  readonly config: IssuerConfig;
  readonly keys: KeySet;
  /** Called with the reason why a loaded key cannot be used. */
  readonly onUnusable: (error: unknown) => void;
}

interface VerifiedToken {
  readonly user: Pick<UserCaller, "owner" | "isAdmin">;
  readonly issuer: Issuer;
  readonly generation: number;
  /** Milliseconds since 1970. */
  readonly expireTime: number;
}

const DEFAULT_LIMITS: UserAuthenticatorLimits = {
  fetchTimeoutMs: 5_000,
  cooldownMs: 30_000,
  refreshMs: 600_000,
  retryMs: 1_000,
  cachedTokens: 10_000,
};

/** Identifies users by the tokens of the platform's own authentication: signed JWTs of the configured issuers. */
export function createUserAuthenticator(options: UserAuthenticatorOptions): UserAuthenticator {
  const { clock, grantableScopes } = options;
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const closing = new AbortController();
  const issuers = new Map(
    options.issuers.map((config) => [config.issuer, openIssuer(config, options, { limits, closing: closing.signal })]),
  );
  const verified = new LRUCache<string, VerifiedToken>({ max: limits.cachedTokens });

  async function recall(token: string): Promise<VerifiedToken> {
    const digest = createHash("sha256").update(token).digest("base64");
    const known = verified.get(digest);
    known?.issuer.keys.refresh();
    if (known !== undefined && clock.now() < known.expireTime && known.generation === known.issuer.keys.generation) {
      return known;
    }
    const fresh = await verify(token, issuerOf(token, issuers), clock.now());
    verified.set(digest, fresh);
    return fresh;
  }

  return {
    async authenticate(token, origin) {
      if (token.length > MAX_TOKEN_BYTES) throw tokenRefused("too_large");
      const { user } = await recall(token);
      return { kind: "user", ...user, grantableScopes, ...origin };
    },
    close: () => closing.abort(),
  };
}

function openIssuer(
  config: IssuerConfig,
  { clock, fetch = globalThis.fetch, onWarning, onLoaded = () => undefined }: UserAuthenticatorOptions,
  { limits, closing }: { readonly limits: UserAuthenticatorLimits; readonly closing: AbortSignal },
): Issuer {
  const keys = new KeySet({
    issuer: config.issuer,
    clock,
    ...limits,
    load: () => loadKeys(config, fetch, AbortSignal.any([closing, AbortSignal.timeout(limits.fetchTimeoutMs)])),
    onLoaded: () => onLoaded(config.issuer),
    onFailure: (error) => {
      if (!closing.aborted) onWarning(`its keys could not be loaded: ${describe(error)}`, config.issuer);
    },
  });
  const onUnusable = (error: unknown) => onWarning(`one of its keys cannot be used: ${describe(error)}`, config.issuer);
  return { config, keys, onUnusable };
}

/** The issuer that an unverified token names. */
function issuerOf(token: string, issuers: ReadonlyMap<string, Issuer>): Issuer {
  const issuer = issuers.get(readUnverified(token).iss ?? "");
  if (issuer === undefined) throw tokenRefused("issuer");
  return issuer;
}

function readUnverified(token: string): JWTPayload {
  try {
    return decodeJwt(token);
  } catch {
    throw tokenRefused("malformed");
  }
}

async function verify(token: string, issuer: Issuer, now: number): Promise<VerifiedToken> {
  const { config, keys } = issuer;
  let generation = 0;
  keys.refresh();
  const { payload } = await jwtVerify(
    token,
    async (header, jws) => {
      const found = await keys.find(header, jws);
      generation = found.generation;
      return found.key;
    },
    {
      issuer: config.issuer,
      audience: [...config.audiences],
      algorithms: [...config.algorithms],
      clockTolerance: config.clockToleranceSeconds,
      currentDate: new Date(now),
      requiredClaims: ["exp", "sub"],
    },
  ).catch((error: unknown) => {
    throw refuse(error, issuer);
  });
  // jose checks `iat` only if a maximum age is set.
  if (payload.iat !== undefined && payload.iat * 1000 > now + config.clockToleranceSeconds * 1000) {
    throw tokenRefused("not_yet_valid");
  }
  const owner = ownerOf(payload, config);
  if (owner === undefined) throw tokenRefused("subject");
  const user = { owner, isAdmin: hasAdminClaim(payload, config) };
  return { user, issuer, generation, expireTime: (payload.exp ?? 0) * 1000 };
}

function refuse(error: unknown, { config, onUnusable }: Issuer): ClavigerError {
  if (error instanceof ClavigerError) return error;
  const refusal = refusalOf(error);
  if (refusal !== undefined) return tokenRefused(refusal);
  // All other errors are about the key, such as a key that is too short. They are the issuer's fault and say nothing
  // about the token.
  onUnusable(error);
  return issuerUnavailable(config.issuer, error);
}

/** The message `fetch failed` does not say why; its cause does. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message} (${error.cause.message})` : error.message;
}
