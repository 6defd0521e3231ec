import { Code } from "@connectrpc/connect";
import type { Refusal } from "../protect/refusal.ts";

/** A refusal as HTTP says it. */
export interface RefusalResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** JSON, see `RefusalBody`. */
  readonly body: string;
}

/** The body of a refusal. */
export interface RefusalBody {
  /** As in Connect: `unauthenticated`, `permission_denied`, `resource_exhausted`, `unavailable`, `internal`. */
  readonly code: string;
  /** For people; ends with what to do. */
  readonly message: string;
  /** As in `google.rpc.ErrorInfo`: `CREDENTIAL_MISSING`, `CREDENTIAL_INVALID`, `PERMISSION_DENIED`, `RATE_LIMITED`, … */
  readonly reason: string;
  /** `REVOKED`, `SCOPE_MISSING`, …; absent if nothing was verified. */
  readonly verdict?: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** A refusal that is about to be answered. */
export interface Refused {
  readonly status: number;
  /** Lower-case names: `content-type`, and where they apply `www-authenticate` and `retry-after`. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: RefusalBody;
}

/** What a service answers instead of a `RefusalBody`. Status and other headers stay. */
export interface OwnBody {
  /** Such as `application/problem+json`. */
  readonly contentType: string;
  /** A text as it is, an object as JSON. */
  readonly body: string | object;
}

const STATUS: Readonly<Partial<Record<Code, readonly [status: number, code: string]>>> = {
  [Code.Unauthenticated]: [401, "unauthenticated"],
  [Code.PermissionDenied]: [403, "permission_denied"],
  [Code.ResourceExhausted]: [429, "resource_exhausted"],
  [Code.Unavailable]: [503, "unavailable"],
};

/** How HTTP answers a refusal; `ownBody` may take the place of the body. */
export function refusalResponse(
  refusal: Refusal,
  ownBody: (refused: Refused) => OwnBody | undefined = () => undefined,
): RefusalResponse {
  const refused = refusedBy(refusal);
  const own = ownBody(refused);
  const { contentType, body } = own ?? { contentType: "application/json", body: refused.body };
  return {
    status: refused.status,
    headers: { ...refused.headers, "content-type": contentType },
    body: typeof body === "string" ? body : JSON.stringify(body),
  };
}

function refusedBy(refusal: Refusal): Refused {
  const { message, reason, metadata, retryAfterMs } = refusal;
  const [status, code] = STATUS[refusal.code] ?? [500, "internal"];
  const { verdict } = metadata;
  const body: RefusalBody = { code, message, reason, ...(verdict !== undefined && { verdict }), metadata };
  const challenge = challengeOf(refusal);
  return {
    status,
    headers: {
      "content-type": "application/json",
      ...(challenge !== undefined && { "www-authenticate": challenge }),
      // Whole seconds, up: a client that keeps to them is not refused again.
      ...(retryAfterMs !== undefined && { "retry-after": String(Math.max(1, Math.ceil(retryAfterMs / 1000))) }),
    },
    body,
  };
}

/** RFC 6750, section 3: what was wrong is said only to whom a key was presented. */
function challengeOf({ reason, metadata }: Refusal): string | undefined {
  if (reason === "CREDENTIAL_MISSING") return "Bearer";
  if (reason === "CREDENTIAL_INVALID") return 'Bearer error="invalid_token"';
  if (metadata.missing_scopes === undefined) return undefined;
  return `Bearer error="insufficient_scope", scope="${metadata.missing_scopes.replaceAll(",", " ")}"`;
}
