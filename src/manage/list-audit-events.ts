import type { Caller } from "../access/caller.ts";
import { confineOwner } from "../access/permissions.ts";
import { type EventFilter, listEvents, type SealedEvent } from "../postgres/audit.ts";
import type { ManageDeps } from "./deps.ts";
import { pageSizeOf, readPageToken } from "./steps/pages.ts";

export type { EventFilter, SealedEvent };

export interface ListAuditEvents {
  readonly filter: EventFilter;
  /** 0 for the default. */
  readonly pageSize: number;
  /** Empty for the first page. */
  readonly pageToken: string;
}

export interface EventPage {
  readonly events: readonly SealedEvent[];
  /** Whether events remain after the last one. */
  readonly more: boolean;
  /** The token that continues after an event of the page, for a page that is cut short. */
  readonly tokenAfter: (event: SealedEvent) => string;
}

/** One page of the events that were committed before the call, newest first. */
export async function listAuditEvents(deps: ManageDeps, caller: Caller, command: ListAuditEvents): Promise<EventPage> {
  const { pageTokens } = deps;
  const owner = confineOwner(caller, command.filter.owner ?? "");
  const filter = { ...command.filter, ...(owner === "" ? {} : { owner }) };
  const filters = JSON.stringify(["audit", Object.entries(filter).sort(([a], [b]) => (a < b ? -1 : 1))]);
  const after = readPageToken(pageTokens, command.pageToken, filters);
  const size = pageSizeOf(command.pageSize);
  await deps.seal();
  const below = after === undefined ? undefined : Number(after);
  const found = await deps.storage.read((database) => listEvents(database, filter, { below, limit: size + 1 }));
  return {
    events: found.slice(0, size),
    more: found.length > size,
    tokenAfter: (event) => pageTokens.make(String(event.sequence), filters),
  };
}
