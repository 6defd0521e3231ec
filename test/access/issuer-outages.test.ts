import { createServer as createHttpServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { createUserAuthenticator } from "../../src/access/jwt-issuers.ts";
import { createFakeIssuer, START_SECONDS } from "../../testkit/fakes/fake-issuer.ts";
import { freePort } from "../../testkit/free-port.ts";

const ORIGIN = { address: "192.0.2.1", requestId: "r1" };

/** Where an issuer's keys are, served by `answer`. */
async function serve(answer: RequestListener): Promise<string> {
  const server = createHttpServer(answer);
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`;
}
const status =
  (code: number, headers: Readonly<Record<string, string>> = {}): RequestListener =>
  (_, response) =>
    void response.writeHead(code, headers).end("no");
const body =
  (text: string): RequestListener =>
  (_, response) =>
    void response.end(text);

/** Each way in which an issuer's keys cannot be had: where they are, and what the operator reads of it. */
const OUTAGES: readonly (readonly [what: string, place: () => Promise<string> | string, problem: RegExp])[] = [
  ["has a name that does not resolve", () => "http://keys.invalid/keys", /ENOTFOUND|EAI_AGAIN/],
  ["refuses connections", async () => `http://127.0.0.1:${await freePort()}/keys`, /ECONNREFUSED/],
  ["speaks no TLS", async () => (await serve(body("{}"))).replace("http:", "https:"), /SSL|ssl|packet/],
  ...[400, 401, 403, 404, 410, 429, 500, 502, 503, 504, 204, 206].map(
    (code) => [`answers ${code}`, () => serve(status(code)), new RegExp(`answered ${code}`)] as const,
  ),
  ...[301, 302, 307, 308].map(
    (code) =>
      [
        `redirects with ${code}`,
        () => serve(status(code, { location: "http://127.0.0.1:1/" })),
        new RegExp(`answered ${code}`),
      ] as const,
  ),
  ["sends no JSON", () => serve(body("<html>")), /JSON/],
  ["sends nothing", () => serve(body("")), /JSON/],
  ["sends null", () => serve(body("null")), /malformed|JSON/],
  ["sends no set of keys", () => serve(body('{"keys":5}')), /malformed/],
  ["sends more than 1 MiB", () => serve(body(`"${"x".repeat(1024 * 1024)}"`)), /more than 1048576 bytes/],
  ["never answers", () => serve(() => undefined), /timeout/],
  ["stops in the middle", () => serve((_, response) => void response.write("{")), /timeout/],
  [
    "cuts the connection in the middle",
    () => serve((_, response) => void response.writeHead(200).write("{", () => response.destroy())),
    /terminated|closed|reset/,
  ],
];

test.each(OUTAGES)(
  "an issuer that %s makes no token bad, and the operator reads why",
  async (_what, place, problem) => {
    const issuer = createFakeIssuer();
    const warnings: string[] = [];
    let loads = 0;
    let url = await place();
    let now = START_SECONDS * 1000;
    const users = createUserAuthenticator({
      issuers: [{ ...issuer.config, keys: { kind: "url", url: new URL("http://127.0.0.1/keys") } }],
      grantableScopes: [],
      clock: { now: () => now },
      fetch: (_url, init) => fetch(url, init),
      limits: { fetchTimeoutMs: 1000 },
      onWarning: (text) => warnings.push(text),
      onLoaded: () => {
        loads += 1;
      },
    });
    const caller = () => users.authenticate(issuer.token(), ORIGIN);
    await expect(caller()).rejects.toMatchObject({ reason: "ISSUER_UNAVAILABLE" });
    expect(warnings).toEqual([expect.stringMatching(problem)]);
    expect(loads).toBe(0);
    const { keys } = issuer;
    url = await serve(body(JSON.stringify({ keys: keys.map(({ jwk }) => jwk) })));
    now += 1000;
    expect(await caller()).toMatchObject({ owner: "ada" });
    expect(loads).toBe(1);
  },
);
