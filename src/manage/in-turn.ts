import type { Bulkhead, Errand } from "./bulkhead.ts";
import type { ManageDeps } from "./deps.ts";

/** What management needs, with storage that serves one errand in its turn. */
export type InTurn = (errand: Errand) => ManageDeps;

export function createInTurn(deps: ManageDeps, bulkhead: Bulkhead): InTurn {
  return (errand) => ({ ...deps, storage: bulkhead.storageFor(deps.storage, errand) });
}
