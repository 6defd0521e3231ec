import type { Bulkhead, Errand } from "./bulkhead.ts";
import type { ManageDeps } from "./deps.ts";

/** The dependencies of management, with storage that serves one request in its turn. */
export type InTurn = (errand: Errand) => ManageDeps;

export function createInTurn(deps: ManageDeps, bulkhead: Bulkhead): InTurn {
  return (errand) => ({ ...deps, storage: bulkhead.storageFor(deps.storage, errand) });
}
