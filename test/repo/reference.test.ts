import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Code } from "@connectrpc/connect";
import { codeToString } from "@connectrpc/connect/protocol-connect";
import { expect, it } from "vitest";
import { type Documents, findStale, makeReference } from "../../scripts/make-reference.ts";
import { ClavigerError, type Reason } from "../../src/keys/errors.ts";
import { toConnectError } from "../../src/rpc/errors.ts";
import { REPOSITORY } from "../../testkit/repository-copy.ts";

const read = (path: string) => readFileSync(join(REPOSITORY, path), "utf8");

it("each page of the reference is what `npm run reference` makes of its source", async () => {
  expect(findStale(await makeReference(), read)).toEqual([]);
});

it("control: a page that differs by one word, or is missing, is found", async () => {
  const pages: Documents = await makeReference();
  const changed = (path: string) => {
    if (path.endsWith("/errors.md")) throw Object.assign(new Error("no such file"), { code: "ENOENT" });
    return path.endsWith("/metrics.md") ? read(path).replace("counter", "gauge") : read(path);
  };
  expect(findStale(pages, changed)).toEqual(["docs/reference/errors.md", "docs/reference/metrics.md"]);
});

it("the reference has every setting, error reason, metric and method", async () => {
  const pages = await makeReference();
  for (const [page, parts] of Object.entries({
    settings: ["`CLAVIGER_LISTEN`", "`--lease-ms <milliseconds>`", "### `postgres`", "`startPatienceMs`"],
    errors: ["| `OVERLOADED` | `UNAVAILABLE` | 503 |", "| `KEY_NOT_FOUND` | `NOT_FOUND` | 404 |"],
    metrics: ["| `claviger_verifications_total` | counter | `verdict`, `lane` |", "`claviger_canary_rounds_total`"],
    grpc: [
      "| `RevokeKey` | `claviger:keys.revoke` |",
      "### VerifyRequest",
      "| `required_scopes` | repeated `string` |",
    ],
  })) {
    for (const part of parts) expect(pages[`docs/reference/${page}.md`]).toContain(part);
  }
});

it("the page of errors has the codes with which the server refuses", async () => {
  const text = (await makeReference())["docs/reference/errors.md"] ?? "";
  const documented = [...text.matchAll(/^\| `(\w+)` \| `(\w+)` \|/gm)].map(([, reason = "", code = ""]) => [
    reason,
    code,
  ]);
  const refused = documented.map(([reason]) => {
    const { code } = toConnectError(new ClavigerError(reason as Reason, "no. Retry"));
    return [reason, code === Code.Unknown ? undefined : codeToString(code).toUpperCase()];
  });
  const ofServer = refused.filter(([, code]) => code !== undefined);
  expect(ofServer.length).toBeGreaterThan(25);
  expect(documented).toEqual(expect.arrayContaining(ofServer));
});
