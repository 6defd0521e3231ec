import { once } from "node:events";
import { readFileSync } from "node:fs";
import { get } from "node:https";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { makeCertificates, type TestCertificates } from "../../testkit/certificates.ts";
import { startClaviger, type TestClaviger } from "../../testkit/claviger.ts";
import { describeWithRedis } from "../../testkit/describe-with.ts";
import { REPOSITORY } from "../../testkit/repository-copy.ts";
import { anchorsOf } from "./markdown.ts";

const read = (path: string) => readFileSync(join(REPOSITORY, path), "utf8");

const RULE =
  /^ {6}- alert: Claviger\w+\n {8}expr: '(?<expr>[^'\n]+)'\n {8}for: \d+[mh]\n {8}labels:\n {10}severity: (?:critical|warning)\n {8}annotations:\n {10}summary: [A-Z][^:#\n]+\.\n {10}runbook_url: (?<page>docs\/[\w/]+\.md)#(?<anchor>[\w-]+)\n$/;

/** The rules of a file of alerts; throws for one that has another form. */
function rulesOf(text: string) {
  const [head, ...blocks] = text.split(/^(?= {6}- alert:)/m);
  if (head !== "groups:\n  - name: claviger\n    rules:\n") throw new Error(`the file begins with ${head}`);
  return blocks.map((block) => {
    const { expr = "", page = "", anchor = "" } = RULE.exec(block)?.groups ?? {};
    if (expr === "") throw new Error(`this rule lacks a part: ${block}`);
    return { expr, page, anchor };
  });
}

interface Panel {
  readonly id: number;
  readonly title: string;
  readonly targets: readonly { readonly expr: string }[];
}

const panelsOf = (text: string) => (JSON.parse(text) as { readonly panels: readonly Panel[] }).panels;

/** The metrics that an expression names. */
function metricsIn(expr: string): string[] {
  return expr.match(/\b(?:claviger|nodejs|process)_\w+/g) ?? [];
}

/** The names of series that a scrape has, or can have. */
function seriesOf(scrape: string): Set<string> {
  const types = [...scrape.matchAll(/^# TYPE (\w+) (\w+)$/gm)];
  return new Set(
    types.flatMap(([, name = "", type]) =>
      type === "histogram" ? ["_bucket", "_sum", "_count"].map((end) => name + end) : [name],
    ),
  );
}

const alerts = () => rulesOf(read("ops/prometheus/alerts.yaml"));
const panels = () => panelsOf(read("ops/grafana/claviger.json"));

describe("The alert rules", () => {
  it("have a summary and a runbook in a section of the docs that exists", () => {
    expect(alerts().length).toBeGreaterThan(8);
    for (const { page, anchor } of alerts()) expect(anchorsOf(read(page))).toContain(anchor);
  });

  it("control: a rule without a runbook is refused", () => {
    const text = read("ops/prometheus/alerts.yaml").replace(/^ +runbook_url: .*\n/m, "");
    expect(() => rulesOf(text)).toThrow("lacks a part");
  });
});

it("the dashboard has panels with a title, a number of their own and queries", () => {
  const all = panels();
  expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
  for (const { title, targets } of all) {
    expect(title).not.toBe("");
    for (const { expr } of targets) expect(metricsIn(expr)).not.toEqual([]);
  }
});

describeWithRedis("A server with Redis, a canary and a certificate", () => {
  let certificates: TestCertificates | undefined;
  let claviger: TestClaviger | undefined;
  let series: Set<string>;
  beforeAll(async () => {
    certificates = await makeCertificates();
    const { certFile, keyFile, ca } = certificates;
    claviger = await startClaviger("embedded", {
      ...{ CLAVIGER_CANARY_MS: "60000", REDIS_URL: inject("redis")?.url ?? "" },
      ...{ CLAVIGER_TLS_CERT: certFile, CLAVIGER_TLS_KEY: keyFile },
    });
    const [response] = await once(get(`${claviger.url}/metrics`, { ca }), "response");
    series = seriesOf(await text(response));
  });
  afterAll(async () => {
    await claviger?.close();
    certificates?.remove();
  });

  it("exposes every metric that an alert or the dashboard names", () => {
    const expressions = [...alerts(), ...panels().flatMap(({ targets }) => targets)].map(({ expr }) => expr);
    const named = new Set(expressions.flatMap(metricsIn));
    expect([...named].filter((name) => !series.has(name))).toEqual([]);
    expect(
      metricsIn("rate(claviger_misspelt_total[5m])").filter((name) => !series.has(name)),
      "control",
    ).not.toEqual([]);
  });
});
