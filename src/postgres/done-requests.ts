import { and, eq, lt, type SQL } from "drizzle-orm";
import { doneRequest } from "./schema.ts";
import type { Database } from "./storage.ts";
import { databaseTime } from "./time.ts";

/** Whose request, of which method, under which id. */
export interface RequestName {
  readonly caller: string;
  readonly method: string;
  readonly requestId: string;
}

/** A request that has been done, or is about to be when the transaction commits. */
export interface DoneRequest extends RequestName {
  readonly payload: Buffer;
  readonly keyId: string;
  readonly version: number;
  readonly expireTime: Date;
}

/** Writes it down and returns true; waits for a transaction that wrote the same, and returns false if that committed. */
export async function insertDoneRequest(transaction: Database, request: DoneRequest): Promise<boolean> {
  const rows = await transaction
    .insert(doneRequest)
    .values(request)
    .onConflictDoNothing()
    .returning({ keyId: doneRequest.keyId });
  return rows.length === 1;
}

export async function findDoneRequest(database: Database, name: RequestName): Promise<DoneRequest | undefined> {
  const [row] = await database.select().from(doneRequest).where(isRequest(name));
  return row;
}

/** Forgets the request if its time is over. */
export async function removeExpiredRequest(transaction: Database, name: RequestName, now: Date): Promise<void> {
  await transaction.delete(doneRequest).where(and(isRequest(name), lt(doneRequest.expireTime, now)));
}

/** Forgets all requests whose time is over. */
export async function removeExpiredRequests(database: Database): Promise<void> {
  await database.delete(doneRequest).where(lt(doneRequest.expireTime, databaseTime));
}

function isRequest({ caller, method, requestId }: RequestName): SQL | undefined {
  return and(eq(doneRequest.caller, caller), eq(doneRequest.method, method), eq(doneRequest.requestId, requestId));
}
