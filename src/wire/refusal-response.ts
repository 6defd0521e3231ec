import { Code } from "@connectrpc/connect";
import type { Refusal } from "./refusal.ts";

/** A refusal as an HTTP response. */
export interface RefusalResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** JSON, see `RefusalBody`. */
  readonly body: string;
}

/** The body of a refusal. */
export interface RefusalBody {
  /** A code of Connect: `unauthenticated`, `permission_denied`, `resource_exhausted`, `unavailable`, `internal`. */
  readonly code: string;
  /** For humans; ends with what to do. */
  readonly message: string;
  /** A reason of `google.rpc.ErrorInfo`: `CREDENTIAL_MISSING`, `CREDENTIAL_INVALID`, `PERMISSION_DENIED`, `RATE_LIMITED`, … */
  readonly reason: string;
  /** `REVOKED`, `SCOPE_MISSING`, …; absent if nothing was verified. */
  readonly verdict?: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** A refusal before it is answered. */
export interface Refused {
  readonly status: number;
  /** Lower-case names: `content-type`, and where they apply `www-authenticate` and `retry-after`. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: RefusalBody;
}

/** The service's own body in place of a `RefusalBody`. Status and other headers stay. */
export interface OwnBody {
  /** Such as `application/problem+json`. */
  readonly contentType: string;
  /** A string is sent unchanged, an object as JSON. */
  readonly body: string | object;
}

const STATUS: Readonly<Partial<Record<Code, readonly [status: number, code: string]>>> = {
  [Code.Unauthenticated]: [401, "unauthenticated"],
  [Code.PermissionDenied]: [403, "permission_denied"],
  [Code.ResourceExhausted]: [429, "resource_exhausted"],
  [Code.Unavailable]: [503, "unavailable"],
};

/** The HTTP response for a refusal; `ownBody` may replace its body. */
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
      // Rounded up to whole seconds, so that a client that waits that long is not refused again.
      ...(retryAfterMs !== undefined && { "retry-after": String(Math.max(1, Math.ceil(retryAfterMs / 1000))) }),
    },
    body,
  };
}

/** RFC 6750, section 3: the error is named only if the request has a key. */
function challengeOf({ reason, metadata }: Refusal): string | undefined {
  if (reason === "CREDENTIAL_MISSING") return "Bearer";
  if (reason === "CREDENTIAL_INVALID") return 'Bearer error="invalid_token"';
  if (metadata.missing_scopes === undefined) return undefined;
  return `Bearer error="insufficient_scope", scope="${metadata.missing_scopes.replaceAll(",", " ")}"`;
}
