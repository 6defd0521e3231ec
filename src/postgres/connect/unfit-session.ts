/** The database, the role, or what is in between makes right answers impossible; the message ends with what to do. */
export class UnfitSession extends Error {
  override readonly name = "UnfitSession";
}

/** What to do about a transaction pooler in the wrong place. */
export const POOLER_HINT =
  "Where DATABASE_URL is a transaction pooler, set CLAVIGER_LEASE_DATABASE_URL to a direct connection";
