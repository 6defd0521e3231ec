export type { AttachKeyOptions } from "../attached-key.ts";
export { type FromFileOptions, fromFile, type KeyFile, type KeySource } from "../key-source.ts";
export { attachKey } from "./attach-key.ts";
