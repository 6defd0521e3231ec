export type { OwnBody, RefusalBody, Refused } from "../../wire/refusal-response.ts";
export { findPrincipal, principalOf } from "./principal.ts";
export { type RequireKeyOptions, requireKey, withKey } from "./require-key.ts";
