/** `npm run bench [id…]`: answers the questions, all of them by default, one after the other, on servers of its own. */
import { readdirSync } from "node:fs";
import { answer, type Bench } from "./harness/bench.ts";

const known = readdirSync(import.meta.dirname)
  .map((file) => /^([a-z]+\d*)\.ts$/.exec(file)?.[1] ?? "run")
  .filter((id) => id !== "run");
const wanted = process.argv.length > 2 ? process.argv.slice(2) : known;
const unknown = wanted.filter((id) => !known.includes(id));
if (unknown.length > 0) {
  console.error(`error: there is no bench ${unknown.join(", ")}. There are ${known.join(", ")}`);
  process.exit(2);
}
for (const id of wanted) {
  const { bench }: { readonly bench: Bench } = await import(`./${id}.ts`);
  await answer(bench);
}
