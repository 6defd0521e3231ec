export { findPrincipal, principalOf } from "./principal.ts";
export type { RefusalBody } from "./refusal-response.ts";
export { type RequireKeyOptions, requireKey, withKey } from "./require-key.ts";
