/** `node run-rule.ts SEEDS ID`: plays that rule's control, in a process that has the product without the rule. */
import { playRule } from "./play-rule.ts";

const [, , most = "1000", id = ""] = process.argv;
console.log(JSON.stringify(await playRule(id, Number(most))));
