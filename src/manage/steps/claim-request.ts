import { createHash } from "node:crypto";
import canonicalize from "canonicalize";
import { type Caller, callerId } from "../../access/caller.ts";
import { ClavigerError } from "../../keys/errors.ts";
import { findDoneRequest, insertDoneRequest, removeExpiredRequest } from "../../postgres/done-requests.ts";
import type { Database } from "../../postgres/storage.ts";
import { DAY_MS } from "../../system/clocks.ts";
import { after } from "./preconditions.ts";

/** How long a request id is remembered (AIP-155). */
const REMEMBERED_MS = DAY_MS;

export interface RequestClaim {
  readonly method: string;
  /** Empty if the caller did not set one. */
  readonly requestId: string;
  /** The requested values, defaults included. */
  readonly payload: unknown;
  /** The result that the request creates if it is the first. */
  readonly keyId: string;
  readonly version: number;
  readonly now: Date;
}

/**
 * Reserves the request id of the caller for this method (each method counts its own), in the transaction of the change.
 * A second request with the id waits here until the first has ended, also on another server.
 *
 * @throws ClavigerError `REQUEST_ALREADY_DONE` with the result of the first; `REQUEST_ID_REUSED` if the first requested
 * other values.
 */
export async function claimRequest(transaction: Database, caller: Caller, claim: RequestClaim): Promise<void> {
  const { method, requestId, keyId, version, now } = claim;
  if (requestId === "") return;
  const id = { caller: callerId(caller), method, requestId };
  const payload = createHash("sha256")
    .update(canonicalize(claim.payload) ?? "")
    .digest();
  await removeExpiredRequest(transaction, id, now);
  const row = { ...id, payload, keyId, version, expireTime: after(now, REMEMBERED_MS) };
  if (await insertDoneRequest(transaction, row)) return;
  const first = await findDoneRequest(transaction, id);
  if (first === undefined) throw new Error("a request was done and is not there");
  if (!first.payload.equals(payload)) {
    throw new ClavigerError(
      "REQUEST_ID_REUSED",
      `request_id ${requestId} was used for another ${method} within 24 hours. Use a new one`,
      { metadata: { request_id: requestId } },
    );
  }
  throw new ClavigerError(
    "REQUEST_ALREADY_DONE",
    `${method} ${requestId} was done: it made version ${first.version} of ${first.keyId}. If its answer was lost, rotate the key with grace_period 0`,
    { metadata: { request_id: requestId, key_id: first.keyId, version: String(first.version) } },
  );
}
