import { TypeID } from "typeid-js";
import { v7 } from "uuid";
import type { Random } from "../system/clocks.ts";

/** `key_` and a UUIDv7 in 26 lower-case Crockford base32 characters (TypeID 0.3). Ids sort by `time`. */
export function newKeyId(time: Date, random: Random): string {
  return newTypeId("key", time, random);
}

/** `prefix`, `_` and a UUIDv7 in the same form. */
export function newTypeId(prefix: string, time: Date, random: Random): string {
  const bytes = v7({ msecs: time.getTime(), random: random(16) }, new Uint8Array(16));
  return TypeID.fromUUIDBytes(prefix, bytes).toString();
}
