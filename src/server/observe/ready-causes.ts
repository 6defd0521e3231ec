import type { LeaseState } from "../../revocation/lease-keeper.ts";
import type { Cause, Readiness } from "../../transport/services/probes.ts";

/** The state that decides readiness; all of it is known without asking anything. */
export interface ReadinessState {
  readonly isDraining: boolean;
  /** Whether the database answers look-ups of secrets. */
  readonly canRead: boolean;
  /** Whether it answers changes. */
  readonly canManage: boolean;
  readonly lease: LeaseState;
  /** Whether verification can go on by the revocation set without the database. */
  readonly canConfirm: boolean;
  /** Whether Redis can be used, by purpose. */
  readonly redis: ReadonlyMap<string, boolean>;
}

const OK: Cause = { status: "ok" };

/**
 * A process is ready if it can verify. A state in which all nodes verify more slowly, or revoke more slowly, is a
 * warning: taking all of them out of service would make an outage of it.
 */
export function readinessOf(state: ReadinessState): Readiness {
  const causes = {
    storage: storageCause(state),
    lease: leaseCause(state),
    redis: redisCause(state.redis),
    draining: state.isDraining ? failing("the process is stopping") : OK,
  };
  return { ready: Object.values(causes).every(({ status }) => status !== "failing"), causes };
}

function storageCause({ canRead, canManage, canConfirm }: ReadinessState): Cause {
  if (canRead) return canManage ? OK : warning("storage does not answer changes");
  const detail = "storage does not answer";
  return canConfirm ? warning(`${detail}; known keys are verified by the revocation set`) : failing(detail);
}

/** Without a lease each verification reads storage, which is right, and slower. */
function leaseCause({ lease, canRead, canConfirm }: ReadinessState): Cause {
  if (lease === "leased") return OK;
  const detail = `no lease (${lease})`;
  return canRead || canConfirm ? warning(detail) : failing(detail);
}

function redisCause(redis: ReadinessState["redis"]): Cause {
  const away = [...redis].filter(([, isUp]) => !isUp).map(([purpose]) => purpose);
  return away.length === 0 ? OK : warning(`Redis cannot be used for ${away.join(", ")}`);
}

function warning(detail: string): Cause {
  return { status: "warning", detail };
}

function failing(detail: string): Cause {
  return { status: "failing", detail };
}
