import express from "express";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { requireKey } from "../../src/sdk/http/index.ts";
import { createVerifier, type Verifier } from "../../src/sdk/index.ts";
import { startClaviger, type TestClaviger } from "../../testkit/claviger.ts";
import { makeKey } from "../rpc/make-key.ts";
import { listen } from "./http-servers.ts";

let claviger: TestClaviger;
let verifiers: readonly [Verifier, Verifier];

beforeAll(async () => {
  claviger = await startClaviger("embedded");
  const options = { url: claviger.url, token: claviger.adminToken };
  verifiers = [createVerifier(options), createVerifier(options)];
});
afterAll(async () => {
  await Promise.all(verifiers.map((verifier) => verifier.close()));
  await claviger.close();
});

/** The statuses of requests in a row that pass two guards, with a key that has `requestsPerDay`. */
async function statuses(owner: string, verifiers: readonly [Verifier, Verifier], requestsPerDay: number) {
  const { secret } = await makeKey(claviger.admin, { owner, scopes: ["a"], limits: { requestsPerDay } });
  const app = express().use(requireKey(verifiers[0]));
  app.get("/", requireKey(verifiers[1], { scopes: ["a"] }), (_, res) => void res.send("in"));
  const server = await listen(app, {});
  const found: number[] = [];
  for (let turn = 0; turn <= requestsPerDay; turn++) {
    const { status } = await fetch(server.url, { headers: { "x-api-key": secret } });
    found.push(status);
  }
  await server.close();
  return found;
}

describe("a key with a limit at a route behind an app-wide requireKey", () => {
  it("is charged once for each request, and its last request is let in", async () => {
    const [verifier] = verifiers;
    expect(await statuses("alice", [verifier, verifier], 3)).toEqual([200, 200, 200, 429]);
  });

  it("control: is charged twice by two verifiers", async () => {
    expect(await statuses("bob", verifiers, 3)).toEqual([200, 429, 429, 429]);
  });
});
