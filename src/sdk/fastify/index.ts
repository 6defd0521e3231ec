export { findPrincipal, principalOf } from "../http/principal.ts";
export type { RefusalBody } from "../http/refusal-response.ts";
export { type RequireKeyOptions, requireKey } from "./require-key.ts";
