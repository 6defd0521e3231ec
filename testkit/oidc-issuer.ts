import { fileURLToPath } from "node:url";
import type { JSONWebKeySet } from "jose";
import { eventually } from "./eventually.ts";
import { endWithin, spawnGuarded } from "./guarded-process.ts";
import { inheritedEnv } from "./server-process.ts";

const SCRIPT = fileURLToPath(new URL("./oidc-issuer-process.ts", import.meta.url));
const START_MS = 20_000;
const STOP_MS = 5_000;

export interface IssueOptions {
  /** The `aud`. Default `claviger`. */
  readonly audience?: string;
  /** Over the usual claims; null removes one. */
  readonly claims?: Readonly<Record<string, unknown>>;
  /** Over the usual header. */
  readonly header?: Readonly<Record<string, unknown>>;
}

/** A real issuer, `oidc-provider`, in a process of its own. */
export interface OidcIssuer {
  /** Its `iss`, `http://127.0.0.1:port`; its keys are at `/jwks`. */
  readonly url: string;
  /** An access token for a resource (RFC 8707, RFC 9068), signed with the newest key (RS256); good for 10 minutes. */
  issue(subject: string, options?: IssueOptions): Promise<string>;
  /** Signs with a new key from now on, and publishes the old ones beside it or no longer. */
  rotateKeys(options: { readonly keepOld: boolean }): Promise<void>;
  /** Whether it closes connections that request its keys or its discovery document. It continues to issue tokens. */
  setAway(options: { readonly isAway: boolean }): Promise<void>;
  /** How often its keys were fetched. */
  keyFetches(): Promise<number>;
  /** The keys that it publishes now. Does not count as a fetch. */
  publicKeys(): Promise<JSONWebKeySet>;
  stop(): Promise<void>;
}

/** Starts an issuer on a free port. Throws with its output when it does not listen. */
export async function startOidcIssuer(): Promise<OidcIssuer> {
  const issuer = await spawnGuarded({
    command: process.execPath,
    args: [SCRIPT],
    spawn: { stdio: ["ignore", "pipe", "pipe"], env: inheritedEnv() },
  });
  let output = "";
  for (const stream of [issuer.child.stdout, issuer.child.stderr]) {
    stream?.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const stop = async () => {
    issuer.child.kill("SIGTERM");
    await endWithin(issuer, STOP_MS);
  };
  const listening = () => {
    const [, url] = /^listening on (\S+)$/m.exec(output) ?? [];
    if (url === undefined) throw new Error(`the issuer does not listen; its output:\n${output}\nread why above`);
    return url;
  };
  const abandonIf = () => (issuer.hasExited() ? new Error(`the issuer has ended; read why:\n${output}`) : undefined);
  try {
    const url = await eventually(listening, { withinMs: START_MS, abandonIf });
    return { ...describeIssuer(url), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function describeIssuer(url: string): Omit<OidcIssuer, "stop"> {
  const control = async (path: string, body?: object) => {
    const init = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
    return (await fetch(new URL(path, url), init)).json();
  };
  const keyFetches = async () => Number(await control("/test/key-fetches"));
  return {
    url,
    issue: (subject, options) => requestToken(url, subject, options),
    rotateKeys: async (options) => void (await control("/test/rotate", options)),
    setAway: async (options) => void (await control("/test/away", options)),
    keyFetches,
    publicKeys: () => control("/jwks?by=test") as Promise<JSONWebKeySet>,
  };
}

async function requestToken(url: string, subject: string, options: IssueOptions = {}): Promise<string> {
  const { audience = "claviger", claims, header } = options;
  const response = await fetch(new URL("/token", url), {
    method: "POST",
    headers: { "x-test-token": JSON.stringify({ claims: { sub: subject, aud: audience, ...claims }, header }) },
    body: new URLSearchParams({
      grant_type: "client_credentials",
      client_id: "app",
      client_secret: "not-a-secret",
      resource: "urn:claviger:test",
    }),
  });
  const answer = (await response.json()) as { access_token?: string };
  if (answer.access_token === undefined) throw new Error(`no token, but ${JSON.stringify(answer)}; read why`);
  return answer.access_token;
}
