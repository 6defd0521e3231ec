/** The response header of a health check that names a fault, with what to do: gRPC's message has no field for it. */
export const REASON_HEADER = "claviger-health-reason";
