/** Forked with the number of agents and the servers' addresses: every secret that it is sent, each of them verifies. */
import { createVerifier, Verdict } from "../../src/sdk/index.ts";

const [count = "1", ...urls] = process.argv.slice(2);
const verifiers = Array.from({ length: Number(count) }, (_, at) =>
  createVerifier({ url: urls[at % urls.length] ?? "" }),
);
while (!verifiers.every(({ fresh }) => fresh)) await new Promise((done) => setTimeout(done, 20));
process.send?.("ready");
process.on("message", async (secret: string) => {
  const answers = await Promise.all(verifiers.map((verifier) => verifier.verify(secret)));
  const kept = verifiers.filter((verifier) => verifier.verifySync(secret) !== "ask").length;
  process.send?.({ valid: answers.filter(({ verdict }) => verdict === Verdict.VALID).length, kept });
});
process.on("disconnect", () => process.exit());
