/**
 * `node abuser.ts <url> <kind> [ms]`: abuses the server from the first line of its input until the input ends; prints
 * the damage so far at each line.
 */
import { createInterface } from "node:readline";
import { Attack } from "./attack.ts";
import { KINDS, type KindName } from "./kinds.ts";

const [url = "", name = "", comesBackAfterMs] = process.argv.slice(2);
const kind = KINDS[name as KindName];
let attack: Attack | undefined;
const lines = createInterface({ input: process.stdin });
lines.on("line", () => {
  attack ??= new Attack({ url, kind, ...(comesBackAfterMs ? { comesBackAfterMs: Number(comesBackAfterMs) } : {}) });
  console.log(JSON.stringify(attack.damage));
});
lines.on("close", () => {
  attack?.stop();
  process.exit();
});
console.log("ready");
