import type { UpdateKeyResponse } from "#gen/claviger/v1/key_management_pb.js";
import type { Clients } from "../../testkit/claviger.ts";

export interface KeyChanges {
  readonly scopes?: string[];
  readonly allowedCidrs?: string[];
  readonly disabled?: boolean;
}

const PATHS = { scopes: "scopes", allowedCidrs: "allowed_cidrs", disabled: "disabled" } as const;

/** Updates those fields that are set of a key, by that caller. */
export function changeKey(clients: Clients, id: string, changes: KeyChanges): Promise<UpdateKeyResponse> {
  const paths = Object.entries(PATHS).flatMap(([name, path]) => (Object.hasOwn(changes, name) ? [path] : []));
  return clients.keys.updateKey({ key: { id, ...changes }, updateMask: { paths } });
}
