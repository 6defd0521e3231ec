/** What happened in a run. */
export interface Counts {
  /** Verifications that were answered, and those of them that came from the cache under a lease. */
  verifies: number;
  leased: number;
  /** Changes that narrow, answered with OK. */
  narrowed: number;
  /** Barriers that waited a lease out, and those that everybody acknowledged. */
  waited: number;
  acknowledged: number;
  /** Changes that were judged by the time that they may take. */
  timed: number;
  /** Reads that were too late to be kept. */
  discarded: number;
  collected: number;
  registrations: number;
  /** Registrations of a node that had one. */
  reRegistrations: number;
  /** Of verifiers inside agents: verifications from their memory, those that they asked for, and streams with a lease. */
  fromMemory: number;
  asked: number;
  attachments: number;
  /** What nodes told them: leases, leases after one had run out, changes of keys, and to drop everything. */
  grants: number;
  lapses: number;
  told: number;
  resets: number;
  /** Streams that were gone while a lease ran. */
  closedWhileLeased: number;
}

export function noCounts(): Counts {
  return {
    ...{ verifies: 0, leased: 0, narrowed: 0, waited: 0, acknowledged: 0, timed: 0 },
    ...{ discarded: 0, collected: 0, registrations: 0, reRegistrations: 0 },
    ...{ fromMemory: 0, asked: 0, attachments: 0, grants: 0, lapses: 0, told: 0, resets: 0, closedWhileLeased: 0 },
  };
}

export function addCounts(to: Counts, counts: Readonly<Counts>): void {
  for (const name of Object.keys(counts) as (keyof Counts)[]) to[name] += counts[name];
}
