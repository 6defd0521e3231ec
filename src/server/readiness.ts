import { sql } from "drizzle-orm";
import type { Logger } from "pino";
import type { Storage } from "../postgres/storage.ts";
import { every } from "./every.ts";

export interface ReadinessOptions {
  readonly storage: Storage;
  readonly log: Logger;
  readonly probeEveryMs: number;
  readonly probeTimeoutMs: number;
  /** Told at the first answer, and whenever the answer changes. */
  readonly onChange: (ready: boolean) => void;
}

/** Asks storage again and again whether it answers. One that hangs gets a new connection: the old may hang for ever. */
export function watchStorage(options: ReadinessOptions): { stop(): void } {
  const { storage, log } = options;
  let ready: boolean | undefined;
  return every(options.probeEveryMs, async () => {
    const answer = await probe(options);
    if (answer === "hangs") storage.reconnect();
    if (ready === (answer === "ready")) return;
    ready = answer === "ready";
    log[ready ? "info" : "error"]({ event: "storage", answer }, ready ? "storage answers" : "storage does not answer");
    options.onChange(ready);
  });
}

async function probe({ storage, probeTimeoutMs }: ReadinessOptions): Promise<"ready" | "refuses" | "hangs"> {
  const late = Promise.withResolvers<"hangs">();
  const timer = setTimeout(() => late.resolve("hangs"), probeTimeoutMs);
  const answer = storage.read(async (database) => {
    await database.execute(sql`select 1`);
    return "ready" as const;
  });
  try {
    return await Promise.race([answer.catch(() => "refuses" as const), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
