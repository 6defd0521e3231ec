export { findPrincipal, principalOf } from "./principal.ts";
export type { OwnBody, RefusalBody, Refused } from "./refusal-response.ts";
export { type RequireKeyOptions, requireKey, withKey } from "./require-key.ts";
