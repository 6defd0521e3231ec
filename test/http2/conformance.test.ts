import { fileURLToPath } from "node:url";
import { expect, inject, it } from "vitest";
import { describeWithConformance } from "../../testkit/describe-with.ts";
import { type Mutation, mutate } from "../../testkit/mutation.ts";
import { runProgram } from "../../testkit/run-program.ts";

const FOLDER = fileURLToPath(new URL("./conformance/", import.meta.url));
/** Permutations of version 1.0.7 for the features in `config.yaml`. Fewer would mean that a part did not run. */
const CASES = 3620;

/** The suite compares messages and details of errors, which the product makes its own: with ErrorInfo and advice. */
const PLAIN_ERRORS: readonly Mutation[] = [
  {
    file: "src/transport/router/router-errors.ts",
    find: "  const explained = explainByCode(error.code",
    replace: "  if (error !== undefined) return undefined;\n  const explained = explainByCode(error.code",
  },
  {
    file: "src/wire/errors.ts",
    find: "  error.details.push({ desc: ErrorInfoSchema, value: errorInfo(init) });\n",
    replace: "",
  },
];

describeWithConformance("Connect's conformance suite", () => {
  it("passes for gRPC, gRPC-Web and Connect on both HTTP versions, in clear and over TLS, but for the known failures", async () => {
    const settings = ["--mode", "server", "--conf", "config.yaml", "--known-failing", "@known-failing.txt"];
    const args = [...settings, "--max-servers", "2", "--", process.execPath, "server.ts"];
    const env = mutate(...PLAIN_ERRORS);
    const { code, stdout, stderr } = await runProgram(inject("connectconformance") ?? "", args, { cwd: FOLDER, env });
    const output = `${stdout}\n${stderr}`;
    expect(output).toContain(`Total cases: ${CASES}\n`);
    expect(output).toMatch(/, 0 failed/);
    expect(code, output).toBe(0);
  });
});
