import { randomBytes } from "node:crypto";
import type { Random } from "../keys/random.ts";

/** The operating system's generator: the only source of chance outside tests. */
export const systemRandom: Random = (byteCount) => randomBytes(byteCount);
