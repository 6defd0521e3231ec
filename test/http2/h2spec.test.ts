import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, inject, it, onTestFinished } from "vitest";
import { describeWithH2spec } from "../../testkit/describe-with.ts";
import { runProgram } from "../../testkit/run-program.ts";
import { readKnownExceptions } from "./known-exceptions.ts";
import { answerShortly, servePort } from "./serve-port.ts";

/** Cases in version 2.2.1. Fewer would mean that a part of the suite did not run. */
const CASES = 146;

interface Case {
  readonly name: string;
  readonly isPassed: boolean;
}

/** The cases of a JUnit report of h2spec, which closes the element of a passed one on its own line. */
function casesOf(report: string): Case[] {
  const found = report.matchAll(/<testcase package="([^"]*)" classname="([^"]*)" time="[^"]*">(<\/testcase>)?/g);
  return [...found].map(([, section, title = "", closed]) => ({
    name: `${section} ${title.replaceAll("&#34;", '"')}`,
    isPassed: closed !== undefined,
  }));
}

describeWithH2spec("h2spec", () => {
  it("passes all its cases, strict ones too, but for the known exceptions", async () => {
    const { port } = await servePort(answerShortly);
    const folder = await mkdtemp(join(tmpdir(), "claviger-"));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const report = join(folder, "report.xml");
    const args = ["--strict", "--port", String(port), "--junit-report", report];
    const { stdout } = await runProgram(inject("h2spec") ?? "", args);
    const cases = casesOf(await readFile(report, "utf8"));
    expect(cases).toHaveLength(CASES);
    const failed = cases.filter(({ isPassed }) => !isPassed).map(({ name }) => name);
    const known = readKnownExceptions(new URL("./h2spec.exceptions.txt", import.meta.url));
    expect(failed.sort(), stdout).toEqual([...known.keys()].sort());
  });
});
