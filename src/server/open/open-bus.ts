import type { Logger } from "pino";
import type { Keyring } from "../../keys/keyring.ts";
import { readClusterId } from "../../postgres/revisions.ts";
import { type ChangeBus, InProcessBus } from "../../revocation/change-bus.ts";
import type { RevocationSetStore } from "../../revocation/revocation-set.ts";
import { systemRandom, systemTimers } from "../../system/node.ts";
import type { ServerConfig } from "../config/config.ts";
import type { OpenStorage } from "./open-storage.ts";
import type { RedisStates } from "./redis-states.ts";

export interface OpenBus {
  readonly bus: ChangeBus;
  /** Undefined without Redis. */
  readonly set: RevocationSetStore | undefined;
  close(): Promise<void>;
}

/** Opens what carries changes between processes: Redis where it is configured, and nothing but this process otherwise. */
export async function openBus(parts: {
  readonly config: ServerConfig;
  readonly opened: OpenStorage;
  readonly keyring: Keyring;
  readonly log: Logger;
  readonly redis: RedisStates;
}): Promise<OpenBus> {
  const { config, opened, keyring, log, redis } = parts;
  if (config.redis === undefined) {
    const bus = new InProcessBus();
    return { bus, set: undefined, close: () => bus.close() };
  }
  const { RedisBus } = await import("../../redis/redis-bus.ts");
  const { RedisRevocationSet } = await import("../../redis/revocation-set.ts");
  const options = {
    address: config.redis,
    clusterId: await opened.storage.read(readClusterId),
    commandTimeoutMs: config.policy.redis.timeoutMs,
    random: systemRandom,
    timers: systemTimers,
    onWarning: (problem: string) => log.warn({ event: "redis", problem }, "the change bus has a problem"),
  };
  const bus = new RedisBus({
    ...{ ...options, local: new InProcessBus(), keys: keyring.busKeys },
    health: redis.of("bus"),
  });
  const set = new RedisRevocationSet({ ...options, health: redis.of("revocation_set") });
  return { bus, set, close: async () => void (await Promise.all([bus.close(), set.close()])) };
}
