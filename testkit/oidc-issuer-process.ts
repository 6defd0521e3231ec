// An issuer in a process of its own: `node oidc-issuer-process.ts` prints `listening on <issuer>`. Spoken to by oidc-issuer.ts.
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { json } from "node:stream/consumers";
import { exportJWK, generateKeyPair, type JWK } from "jose";
import Provider from "oidc-provider";

interface Issuer {
  keys: JWK[];
  provider: Provider;
  isAway: boolean;
  keyFetches: number;
}

async function main(): Promise<void> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the issuer has no port; start it again");
  const url = `http://127.0.0.1:${address.port}`;
  const keys = [await makeKey()];
  const issuer: Issuer = { keys, provider: createProvider(url, keys), isAway: false, keyFetches: 0 };
  server.on("request", (request, response) => void answer({ issuer, url }, request, response));
  console.log(`listening on ${url}`);
}

async function answer(
  { issuer, url }: { readonly issuer: Issuer; readonly url: string },
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  switch (request.url) {
    case "/test/rotate": {
      const { keepOld } = (await json(request)) as { keepOld: boolean };
      issuer.keys = [await makeKey(), ...(keepOld ? issuer.keys : [])];
      issuer.provider = createProvider(url, issuer.keys);
      return void response.end("{}");
    }
    case "/test/away":
      issuer.isAway = ((await json(request)) as { isAway: boolean }).isAway;
      return void response.end("{}");
    case "/test/key-fetches":
      return void response.end(JSON.stringify(issuer.keyFetches));
  }
  if (request.url === "/jwks") issuer.keyFetches++;
  // Away for requests of keys. It still issues tokens, like a part of the issuer on the users' side of a partition.
  if (issuer.isAway && request.url !== "/token") return void request.socket.destroy();
  issuer.provider.callback()(request, response);
}

async function makeKey(): Promise<JWK> {
  const { privateKey } = await generateKeyPair("RS256", { extractable: true });
  return { ...(await exportJWK(privateKey)), alg: "RS256", use: "sig", kid: crypto.randomUUID() };
}

/** Tokens have the claims and the header that the request's `x-test-token` says, over the usual ones; null removes. */
function createProvider(url: string, keys: readonly JWK[]): Provider {
  return new Provider(url, {
    jwks: { keys: [...keys] },
    clients: [
      {
        client_id: "app",
        client_secret: "not-a-secret",
        grant_types: ["client_credentials"],
        redirect_uris: [],
        response_types: [],
        token_endpoint_auth_method: "client_secret_post",
      },
    ],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_context, audience) => {
          const sign = { alg: "RS256" as const, ...(keys[0]?.kid === undefined ? {} : { kid: keys[0].kid }) };
          return { scope: "", audience, accessTokenFormat: "jwt", jwt: { sign } };
        },
      },
    },
    formats: {
      customizers: {
        jwt: (context, _token, parts) => {
          const { claims, header } = JSON.parse(context.get("x-test-token"));
          Object.assign(parts.payload, claims);
          for (const [name, value] of Object.entries(parts.payload)) if (value === null) delete parts.payload[name];
          parts.header = { ...parts.header, ...header };
        },
      },
    },
  });
}

await main();
