/**
 * The Redis names of one cluster. Pub/sub ignores the number of the database, so that each name contains the cluster's
 * id. The braces keep the names on one node of a Redis Cluster.
 */
export function redisNames(clusterId: string) {
  const prefix = `claviger:{${clusterId}}`;
  return {
    changes: `${prefix}:changes`,
    acks: `${prefix}:acks`,
    /** Never exists: deleting it shows whether Redis accepts writes. */
    nothing: `${prefix}:nothing`,
    /** Messages of one process to itself. */
    echo: (id: string) => `${prefix}:echo:${id}`,
    revocations: `${prefix}:revocations`,
    /** One name per key; each may live on another node. */
    limits: (keyId: string) => `claviger:{${clusterId}:${keyId}}:limits`,
  };
}
