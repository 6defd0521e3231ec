export type { OwnBody, RefusalBody, Refused } from "../../wire/refusal-response.ts";
export { findPrincipal, principalOf } from "../http/principal.ts";
export { type RequireKeyOptions, requireKey } from "./require-key.ts";
