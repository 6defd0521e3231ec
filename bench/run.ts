/** `npm run bench [id…]`: answers the questions, all of them by default, one after the other, on servers of its own. */
import { answer, type Bench } from "./harness/bench.ts";
import { writeTables } from "./harness/table.ts";

const known = [
  "verify-beside-http2",
  "verify-beside-connect",
  "verify-beside-grpc-js",
  "verify-beside-grpc-go",
  "verify-one-at-a-time",
  "verify-in-agent",
  "revoke-with-agents",
  "verify-many-keys",
  "cold-verify",
  "forged-flood",
  "cache-memory",
  "first-start",
  "revocation",
  "streams",
  "overload",
  "abuse",
  "fairness",
  "alternatives",
];
/** Those that need something more than the repository. */
const further = ["beside-base"];
const wanted = process.argv.length > 2 ? process.argv.slice(2) : known;
const unknown = wanted.filter((id) => ![...known, ...further].includes(id));
if (unknown.length > 0) {
  console.error(`error: there is no bench ${unknown.join(", ")}. There are ${[...known, ...further].join(", ")}`);
  process.exit(2);
}
for (const id of wanted) {
  const { bench }: { readonly bench: Bench } = await import(`./${id}.ts`);
  await answer(bench);
}
writeTables();
