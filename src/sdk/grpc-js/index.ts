export type { AttachKeyOptions } from "../attach/attached-key.ts";
export { type FromFileOptions, fromFile, type KeyFile, type KeySource } from "../attach/key-source.ts";
export { attachKey } from "./attach-key.ts";
export { findPrincipal, principalOf } from "./principal.ts";
export { type IncomingCall, type RequireKeyOptions, requireKey } from "./require-key.ts";
