/** The Redis names of one cluster. Pub/sub ignores the database's number, so that the cluster's id is in each; the braces keep them on one node of a Redis Cluster. */
export function redisNames(clusterId: string) {
  const prefix = `claviger:{${clusterId}}`;
  return {
    changes: `${prefix}:changes`,
    acks: `${prefix}:acks`,
    /** Never there: whoever deletes it learns whether Redis takes writes. */
    nothing: `${prefix}:nothing`,
    /** What one process says to itself. */
    echo: (id: string) => `${prefix}:echo:${id}`,
    revocations: `${prefix}:revocations`,
    /** Of one key; each may live on another node. */
    limits: (keyId: string) => `claviger:{${clusterId}:${keyId}}:limits`,
  };
}
