import type { RevocationSetStore } from "../revocation/revocation-set.ts";
import type { Random } from "../system/clocks.ts";
import { connectRedis, type RedisConnection } from "./connect-redis.ts";
import { redisNames } from "./names.ts";
import type { RedisAddress } from "./parse-redis-url.ts";
import { type RedisHealth, type Timers, watchRedis } from "./watch-redis.ts";

export interface RedisRevocationSetOptions {
  readonly address: RedisAddress;
  readonly clusterId: string;
  /** Maximum milliseconds for one command. */
  readonly commandTimeoutMs: number;
  /** Spreads attempts to reconnect. Default: no spread. */
  readonly random?: Random;
  readonly timers: Timers;
  readonly health: RedisHealth;
}

/** Further fields of the hash beside the keys; no key id has this form. */
const MARKER = "marker";
const FLOOR = "floor";
/** Keys per script: Redis does nothing else during a script. */
const CHUNK = 1000;

const INITIALISE = `if redis.call('HGET', KEYS[1], 'marker') == ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'marker', ARGV[1], 'floor', ARGV[2])
return 1`;
const WRITE = `if redis.call('HGET', KEYS[1], 'marker') ~= ARGV[1] then return 0 end
for i = 3, #ARGV do
  local had = tonumber(redis.call('HGET', KEYS[1], ARGV[i]) or '0')
  if had < tonumber(ARGV[2]) then redis.call('HSET', KEYS[1], ARGV[i], ARGV[2]) end
end
return 1`;
const HOLDS = `if redis.call('HGET', KEYS[1], 'marker') ~= ARGV[1] then return 0 end
local least = tonumber(ARGV[2])
if tonumber(redis.call('HGET', KEYS[1], 'floor') or '0') >= least then return 1 end
for i = 3, #ARGV do
  if tonumber(redis.call('HGET', KEYS[1], ARGV[i]) or '0') < least then return 0 end
end
return 1`;
const RAISE_FLOOR = `if redis.call('HGET', KEYS[1], 'marker') ~= ARGV[1] then return 0 end
if tonumber(redis.call('HGET', KEYS[1], 'floor') or '0') < tonumber(ARGV[2]) then redis.call('HSET', KEYS[1], 'floor', ARGV[2]) end
return 1`;
const REMOVE = `if redis.call('HGET', KEYS[1], 'marker') ~= ARGV[1] then return 0 end
local floor = tonumber(redis.call('HGET', KEYS[1], 'floor') or '0')
for i = 2, #ARGV do
  local had = tonumber(redis.call('HGET', KEYS[1], ARGV[i]) or '0')
  if had > 0 and had <= floor then redis.call('HDEL', KEYS[1], ARGV[i]) end
end
return 1`;

/** The revocation set in one hash of Redis, on a connection of its own. */
export class RedisRevocationSet implements RevocationSetStore {
  readonly #redis: RedisConnection;
  readonly #name: string;
  readonly #stopWatching: () => void;
  #connections = 0;
  #state: { readonly connection: number; readonly runId: string } | undefined;

  constructor(options: RedisRevocationSetOptions) {
    this.#name = redisNames(options.clusterId).revocations;
    this.#redis = connectRedis(options);
    this.#redis.on("close", () => {
      this.#connections += 1;
      this.#state = undefined;
    });
    const { nothing } = redisNames(options.clusterId);
    const probe = async () => {
      if (this.#state === undefined) await this.#learn();
      await this.#redis.del(nothing);
    };
    this.#stopWatching = watchRedis({ connections: [this.#redis], probe, ...options });
  }

  state(): { readonly connection: number; readonly runId: string } | undefined {
    return this.#state;
  }

  async readMarker(): Promise<string | undefined> {
    return (await this.#redis.hget(this.#name, MARKER)) ?? undefined;
  }

  async initialise(marker: string, floor: number): Promise<void> {
    await this.#run(INITIALISE, [marker, floor]);
  }

  async write(marker: string, keyIds: readonly string[], revision: number): Promise<boolean> {
    return this.#ofAll(WRITE, [marker, revision], keyIds);
  }

  async holds(marker: string, keyIds: readonly string[], revision: number): Promise<boolean> {
    return this.#ofAll(HOLDS, [marker, revision], keyIds);
  }

  async look(keyId: string) {
    const [marker, floor, member] = await this.#redis.hmget(this.#name, MARKER, FLOOR, keyId);
    return { marker: marker ?? undefined, floor: Number(floor ?? Number.NaN), member: Number(member ?? 0) };
  }

  async trim(marker: string, floor: number): Promise<void> {
    if ((await this.#run(RAISE_FLOOR, [marker, floor])) !== 1) return;
    let cursor = "0";
    do {
      const [next, fields] = await this.#redis.hscan(this.#name, cursor, "COUNT", CHUNK);
      const members = fields.filter((field, at) => at % 2 === 0 && field !== MARKER && field !== FLOOR);
      if (members.length > 0) await this.#run(REMOVE, [marker, ...members]);
      cursor = next;
    } while (cursor !== "0");
  }

  async close(): Promise<void> {
    this.#stopWatching();
    this.#redis.disconnect();
  }

  /** The server process of this connection. The set has no state until it is known. */
  async #learn(): Promise<void> {
    const connection = this.#connections;
    const info = await this.#redis.info("server");
    const runId = /^run_id:([0-9a-f]+)/m.exec(info)?.[1];
    if (runId !== undefined && connection === this.#connections) this.#state = { connection, runId };
  }

  /** Runs once even without keys, to compare the marker. */
  async #ofAll(script: string, args: readonly (string | number)[], keyIds: readonly string[]): Promise<boolean> {
    let from = 0;
    do {
      if ((await this.#run(script, [...args, ...keyIds.slice(from, from + CHUNK)])) !== 1) return false;
      from += CHUNK;
    } while (from < keyIds.length);
    return true;
  }

  #run(script: string, args: readonly (string | number)[]): Promise<unknown> {
    return this.#redis.eval(script, 1, this.#name, ...args);
  }
}
