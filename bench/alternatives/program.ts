/**
 * `node program.ts contestant`, with `DATABASE_URL` and `REDIS_URL`: serves a contestant on node:http, and verifies in
 * this process on request. Prints its address.
 */
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { betterAuth } from "./better-auth.ts";
import { byHandGet, byHandHash, byHandSelect } from "./by-hand.ts";
import type { Contestant, Stores } from "./contestant.ts";
import { seed, turn } from "./in-process.ts";

const CONTESTANTS: Readonly<Record<string, (stores: Stores) => Promise<Contestant>>> = {
  "better-auth-postgres": (stores) => betterAuth("postgres", stores),
  "better-auth-redis": (stores) => betterAuth("redis", stores),
  "better-auth-redis-deferred": (stores) => betterAuth("redis-deferred", stores),
  "better-auth-redis-over-postgres": (stores) => betterAuth("redis-over-postgres", stores),
  "by-hand-get": byHandGet,
  "by-hand-hgetall": byHandHash,
  "by-hand-select": byHandSelect,
};

const open = CONTESTANTS[process.argv[2] ?? ""];
if (open === undefined) throw new Error(`name one of ${Object.keys(CONTESTANTS).join(", ")}`);
const { DATABASE_URL = "", REDIS_URL = "" } = process.env;
const contestant = await open({ databaseUrl: DATABASE_URL, redisUrl: REDIS_URL });
const secrets: string[] = [];

const ROUTES: Readonly<Record<string, (query: URLSearchParams) => Promise<unknown>>> = {
  create: (query) => contestant.create(query.has("remaining") ? { remaining: Number(query.get("remaining")) } : {}),
  remove: (query) => contestant.remove(query.get("id") ?? ""),
  disable: (query) => contestant.disable(query.get("id") ?? ""),
  count: (query) => contestant.count(query.get("id") ?? ""),
  settled: () => contestant.settled(),
  async seed(query) {
    secrets.push(...(await seed(contestant, Number(query.get("count")))));
    return secrets;
  },
  turn: (query) => turn(contestant, secrets, Number(query.get("atOnce")), Number(query.get("ms"))),
};

/** A key is verified by the shortest way; everything else is the bench's own. */
async function answer(request: IncomingMessage): Promise<unknown> {
  if (request.url === "/verify") {
    return { valid: await contestant.verify(request.headers["x-api-key"] as string) };
  }
  const { pathname, searchParams } = new URL(request.url ?? "", "http://127.0.0.1");
  return ROUTES[pathname.slice(1)]?.(searchParams);
}

const server = createServer((request, response) => {
  answer(request).then(
    (value) => response.end(JSON.stringify(value ?? null)),
    (error) => response.writeHead(500).end(JSON.stringify(String(error))),
  );
});
server.listen(0, "127.0.0.1", 4096, () =>
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`),
);
