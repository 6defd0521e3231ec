export { findPrincipal, principalOf } from "../http/principal.ts";
export type { OwnBody, RefusalBody, Refused } from "../http/refusal-response.ts";
export { type RequireKeyOptions, requireKey } from "./require-key.ts";
