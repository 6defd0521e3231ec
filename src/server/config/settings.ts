/** A setting of the server: an environment variable, and the flag of `claviger serve` that overrides it. */
export interface Setting {
  readonly variable: string;
  /** Absent for a secret: those are never arguments. */
  readonly flag?: string;
  readonly description: string;
  /** Whether the value must not be shown. A secret can also be read from the file named by `<variable>_FILE`. */
  readonly secret: boolean;
}

/** Every setting of the server, in the order of the documentation. */
export const SETTINGS = [
  {
    variable: "CLAVIGER_LISTEN",
    flag: "--listen <host:port>",
    description: "address of the one port (default 127.0.0.1:4640)",
    secret: false,
  },
  {
    variable: "CLAVIGER_DATA_DIR",
    flag: "--data-dir <folder>",
    description: "folder of the embedded database (default .claviger)",
    secret: false,
  },
  {
    variable: "DATABASE_URL",
    flag: "--database-url <url>",
    description:
      "Postgres, such as postgres://user@host/claviger, several hosts with commas (default: embedded); a password belongs into the variable",
    secret: true,
  },
  {
    variable: "REDIS_URL",
    flag: "--redis-url <url>",
    description:
      "Redis, which makes revocations fast and keeps limits: redis://host:6379, several with commas for a cluster, or redis+sentinel://host:26379/name; rediss:// and rediss+sentinel:// for TLS; unix:///path/redis.sock?db=0 (default: in-process)",
    secret: true,
  },
  {
    variable: "REDIS_TLS_CA",
    flag: "--redis-tls-ca <file>",
    description: "PEM of the CA that signed Redis' certificate (default: the CAs that Node trusts)",
    secret: false,
  },
  {
    variable: "REDIS_TLS_CERT",
    flag: "--redis-tls-cert <file>",
    description: "PEM of a client certificate, for a Redis that wants one (default: none)",
    secret: false,
  },
  {
    variable: "REDIS_TLS_KEY",
    flag: "--redis-tls-key <file>",
    description: "PEM of its private key (default: none)",
    secret: false,
  },
  {
    variable: "REDIS_SENTINEL_USERNAME",
    flag: "--redis-sentinel-username <name>",
    description: "user of the sentinels themselves (default: none)",
    secret: false,
  },
  {
    variable: "REDIS_SENTINEL_PASSWORD",
    description: "password of the sentinels themselves; that of the servers is in REDIS_URL",
    secret: true,
  },
  {
    variable: "CLAVIGER_ROOT_SECRETS",
    description: "root secrets, comma-separated, newest first, each at least 32 bytes in base64",
    secret: true,
  },
  {
    variable: "CLAVIGER_ROOT_SECRETS_FILE",
    flag: "--root-secrets-file <file>",
    description: "file with the root secrets (default: made by the embedded database; required with Postgres)",
    secret: false,
  },
  {
    variable: "CLAVIGER_VERIFY_ACCESS",
    flag: "--verify-access <key|open>",
    description: "key: Verify needs claviger:verify; open: anybody may verify (default key)",
    secret: false,
  },
  {
    variable: "CLAVIGER_REFLECTION",
    flag: "--reflection <on|off>",
    description: "gRPC server reflection (default: on with the embedded database, off with Postgres)",
    secret: false,
  },
  {
    variable: "CLAVIGER_LOG_LEVEL",
    flag: "--log-level <level>",
    description: "trace, debug, info, warn, error, fatal or silent; logs go to stderr (default info)",
    secret: false,
  },
  {
    variable: "CLAVIGER_LOG_FORMAT",
    flag: "--log-format <auto|json|text>",
    description: "json, text, or auto: text on a terminal and JSON elsewhere (default auto)",
    secret: false,
  },
  {
    variable: "CLAVIGER_POLICY",
    flag: "--policy <json>",
    description: 'JSON over the numbers of the policy, such as {"keysPerOwner": 20}',
    secret: false,
  },
  {
    variable: "CLAVIGER_LEASE_MS",
    flag: "--lease-ms <milliseconds>",
    description: "lease term D: how long a revocation waits for a verifier that died (default 3000)",
    secret: false,
  },
  {
    variable: "CLAVIGER_LEASE_DATABASE_URL",
    flag: "--lease-database-url <url>",
    description: "direct connection for leases and changes, where DATABASE_URL leads to a connection pooler",
    secret: true,
  },
  {
    variable: "CLAVIGER_ON_DATABASE_LOSS",
    flag: "--on-database-loss <deny|revocation-set>",
    description: "what verification does without Postgres: nothing, or answer kept keys by Redis (default deny)",
    secret: false,
  },
  {
    variable: "CLAVIGER_CANARY_MS",
    flag: "--canary-ms <milliseconds>",
    description: "revoke a key of its own that often and see whether any node still accepts it (default: never)",
    secret: false,
  },
  {
    variable: "CLAVIGER_WORKERS",
    flag: "--workers <number|auto>",
    description: "processes that serve the port together; auto: one for each core; needs Postgres (default 1)",
    secret: false,
  },
  {
    variable: "CLAVIGER_ON_LIMITER_LOSS",
    flag: "--on-limiter-loss <allow|deny>",
    description: "what becomes of keys with limits while Redis does not answer (default allow)",
    secret: false,
  },
  {
    variable: "CLAVIGER_FLAGS_FILE",
    flag: "--flags-file <file>",
    description: "JSON of feature flags, watched, or a module with an OpenFeature provider (default: all on)",
    secret: false,
  },
  {
    variable: "CLAVIGER_JWT_ISSUERS",
    flag: "--jwt-issuers <json>",
    description: "JSON list of the issuers whose users may manage their keys (default: service keys only)",
    secret: false,
  },
] as const satisfies readonly Setting[] as readonly Setting[];
