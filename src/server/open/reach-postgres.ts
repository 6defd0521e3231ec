import { setTimeout as pause } from "node:timers/promises";
import type { Logger } from "pino";
import { ClavigerError } from "../../keys/errors.ts";
import type { Secret } from "../../keys/secret.ts";
import { describeAddress, parseAddress } from "../../postgres/connect/address.ts";
import { describeOutage, mayPass, UnfitSession } from "../../postgres/errors.ts";
import { monotonicMs } from "../../system/node.ts";
import { StartupError } from "../startup-error.ts";

/** SQLSTATE. */
const INSUFFICIENT_PRIVILEGE = "42501";

/** A setting, and the URL that it holds. */
export interface Address {
  readonly setting: "DATABASE_URL" | "CLAVIGER_LEASE_DATABASE_URL";
  readonly url: Secret;
}

/** The address that leads past a connection pooler, where there is one. */
export function directAddress(url: Secret, leaseDatabaseUrl: Secret | undefined): Address {
  return leaseDatabaseUrl === undefined
    ? { setting: "DATABASE_URL", url }
    : { setting: "CLAVIGER_LEASE_DATABASE_URL", url: leaseDatabaseUrl };
}

/** Between two attempts of a start to use Postgres, in milliseconds. */
const PAUSE_MS = 500;

export interface Patience {
  readonly patienceMs: number;
  readonly stopped: Promise<void> | undefined;
  readonly log: Logger;
}

/**
 * Does the work of a start that needs Postgres, and again while its failure may pass by itself: during a failover, or
 * where Postgres is started at the same time.
 *
 * @throws StartupError with the last reason, at once if it does not pass by itself
 */
export async function reach<T>(address: Address, work: () => Promise<T>, patience: Patience): Promise<T> {
  const { patienceMs, stopped = new Promise<void>(() => undefined), log } = patience;
  const giveUpAtMs = monotonicMs() + patienceMs;
  let hasEnded = false;
  void stopped.then(() => {
    hasEnded = true;
  });
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (hasEnded || !mayPass(error) || monotonicMs() >= giveUpAtMs) throw unreachable(address, error);
      if (attempt === 1) {
        const waiting = { event: "storage.awaited", reason: describeOutage(error), forMs: patienceMs };
        log.warn(waiting, `Postgres at ${placeOf(address)} cannot be used yet; the start goes on trying`);
      }
    }
    await Promise.race([pause(PAUSE_MS), stopped]);
  }
}

function placeOf({ url }: Address): string {
  return describeAddress(parseAddress(url.reveal()));
}

/** The error of a start, or of a command, that cannot use Postgres. */
export function unreachable(address: Address, error: unknown): StartupError {
  const { setting } = address;
  const place = placeOf(address);
  const cause = error instanceof ClavigerError ? error.cause : error;
  const reason = describeOutage(error).replace(/\.$/, "");
  if (cause instanceof UnfitSession) return new StartupError(`cannot use Postgres at ${place}: ${reason}`);
  if (cause instanceof Error && "code" in cause && cause.code === INSUFFICIENT_PRIVILEGE) {
    return new StartupError(
      `the schema at ${place} is behind this version, and who connects may not change it (${reason}). Run \`claviger migrate\` as the owner of the schema first`,
    );
  }
  return new StartupError(`cannot use Postgres at ${place} (${reason}). Start it, or correct ${setting}`);
}
