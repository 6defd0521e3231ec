import { constants } from "node:os";
import { fileURLToPath } from "node:url";
import { configDefaults } from "vitest/config";
import { parseCLI, startVitest, type TestModule } from "vitest/node";
import { INSTALL_HINT, isService, type Service } from "../testkit/services.ts";
import { findLongTests } from "./long-tests.ts";
import { describeReport, TestReport } from "./test-report.ts";

/** A suite that did not run because this machine lacks a service or a tool. */
interface NotRun {
  readonly suite: string;
  readonly service: Service;
}

function notRunIn(module: TestModule): NotRun[] {
  return [...module.children.allSuites()].flatMap((suite) => {
    const service = suite.meta().notRunWithout;
    return service ? [{ suite: `${module.relativeModuleId} > ${suite.fullName}`, service }] : [];
  });
}

/** Files and suites that failed outside a test (an import, a `beforeAll`). Each counts as one failure. */
function brokenOutsideTests(module: TestModule): number {
  return [module, ...module.children.allSuites()].filter((suite) => suite.errors().length > 0).length;
}

/** The services whose suites must run here, from `CLAVIGER_TEST_REQUIRE` (a list with commas). */
function requiredServices(): Service[] {
  const names = (process.env.CLAVIGER_TEST_REQUIRE ?? "").split(",").filter((name) => name !== "");
  return names.map((name) => {
    if (isService(name)) return name;
    throw new Error(`CLAVIGER_TEST_REQUIRE: unknown service "${name}"; use ${Object.keys(INSTALL_HINT).join(", ")}`);
  });
}

// Otherwise every server that a test starts would compile the same sources again: a fifth of its start.
process.env.NODE_COMPILE_CACHE ??= fileURLToPath(new URL("../node_modules/.cache/compiled", import.meta.url));

const required = requiredServices();
const cache = fileURLToPath(new URL("../node_modules/.cache/test-report", import.meta.url));
const report = new TestReport(process.env.CLAVIGER_TEST_REPORT ?? cache);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => {
    report.finish(`interrupted by ${signal}`);
    console.log(`\n${describeReport(report.content())}report: ${report.folder}/report.json`);
    // Workers end with this process, and the servers that they have started with them.
    process.exit(128 + constants.signals[signal]);
  });
}
const { filter, options } = parseCLI(["vitest", "run", ...process.argv.slice(2)]);
const { reporter = configDefaults.reporters, ...others } = options;
const reporters = [...[reporter].flat(), report];
const hasLong = process.env.CLAVIGER_TEST_LONG === "1" || filter.length > 0;
const leftOut = hasLong ? [] : findLongTests();
const exclude = [...configDefaults.exclude, ...[others.exclude ?? []].flat(), ...leftOut];
const vitest = await startVitest(filter, { ...others, reporters, exclude, watch: false });
const modules = vitest.state.getTestModules();
const strayErrors = vitest.state.getUnhandledErrors().length;
await vitest.close();

const tests = modules.flatMap((module) => [...module.children.allTests()]);
const count = (state: string) => tests.filter((test) => test.result().state === state).length;
const passed = count("passed");
const skipped = count("skipped") + count("pending");
const failedTests = count("failed");
const broken = modules.reduce((sum, module) => sum + brokenOutsideTests(module), 0) + strayErrors;

const notRun = modules.flatMap(notRunIn);
for (const { suite, service } of notRun) {
  console.log(`not run: ${suite} — ${INSTALL_HINT[service]}`);
}
for (const file of leftOut) console.log(`not run: ${file} — takes long; CLAVIGER_TEST_LONG=1 npm test, as CI does`);
const missing = notRun.filter(({ service }) => required.includes(service)).length;
if (missing > 0) {
  console.log(`CLAVIGER_TEST_REQUIRE=${required.join(",")}: ${missing} suites above count as failed`);
}
const nothingRan = passed + failedTests === 0;
if (nothingRan) {
  console.log("no test was executed, which counts as a failure: see the errors above, or check the filter after `--`");
}

const failed = failedTests + broken + missing + (nothingRan ? 1 : 0);
report.finish(failed > 0 ? "failed" : "passed");
console.log(`report: ${report.folder}/report.txt`);
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
// Not `exitCode`: a server of a broken set-up would keep this process, and itself, alive.
process.exit(failed > 0 ? 1 : 0);
