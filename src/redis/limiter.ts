import type { Charged, ChargeOrder } from "../keys/limits.ts";
import { DAY_MS, type Random } from "../system/clocks.ts";
import type { Limiter } from "../usage/limiter.ts";
import { connectRedis, type RedisConnection } from "./connect-redis.ts";
import { redisNames } from "./names.ts";
import type { RedisAddress } from "./parse-redis-url.ts";
import { type RedisHealth, type Timers, watchRedis } from "./watch-redis.ts";

export interface RedisLimiterOptions {
  readonly address: RedisAddress;
  readonly clusterId: string;
  readonly timers: Timers;
  /** Maximum milliseconds for one answer. */
  readonly timeoutMs: number;
  /** The ledger's count of a key's day, for when Redis may lack a part of it. */
  readonly readCharged: (keyId: string, dayStart: Date) => Promise<number>;
  /**
   * Called after each new connection, perhaps to another server. The process should then send its pending counts, so
   * that the ledger has them when a limiter asks.
   */
  readonly onConnected?: () => void;
  readonly health: RedisHealth;
  /** Spreads attempts to reconnect. Default: no spread. */
  readonly random?: Random;
}

/**
 * `charge` of `keys/limits.ts` by Redis' clock, in milliseconds since 2026 so that a double keeps their fractions. A
 * hash for each key holds when its rate is empty, the day, its count, and the history of replication that it was
 * counted in. Why a history: docs/decisions/0011-no-slices-of-quota.md.
 */
const CHARGE = `local rate, burst, perDay = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local seedDay, seed = tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1767225600) * 1000 + tonumber(time[2]) / 1000
local today = math.floor(tonumber(time[1]) / 86400)
local untilMidnight = ((today + 1) * 86400 - tonumber(time[1])) * 1000 - tonumber(time[2]) / 1000
local info = redis.pcall('INFO', 'replication')
local history = type(info) == 'string' and string.match(info, 'master_replid:(%x+)') or ''
local spent = redis.call('HMGET', KEYS[1], 'empty', 'day', 'used', 'history')
local empty, day, used = tonumber(spent[1] or '0'), tonumber(spent[2] or '-1'), tonumber(spent[3] or '0')
local counted = spent[4] or ''
if perDay > 0 and (day < 0 or counted ~= history) and (seedDay ~= -2 or day < 0) then
  if seedDay ~= today then return {day < 0 and -1 or -2, today} end
  used = day == today and math.max(used, seed) or seed
  day, counted = today, history
end
if day >= 0 and day < today then
  day, used = today, 0
end
local unit = 0
if rate > 0 then
  unit = 1000 / rate
  empty = math.min(empty, now + burst * unit)
end
local answer = {}
for i = 6, #ARGV do
  local cost = tonumber(ARGV[i])
  local asked = math.max(cost, 1)
  local after = math.max(empty, now) + asked * unit
  local early = after - now - burst * unit
  if rate > 0 and early > 0.001 then
    answer[#answer + 1] = 1
    answer[#answer + 1] = asked > burst and -1 or math.ceil(early)
  elseif perDay > 0 and used + asked > perDay then
    answer[#answer + 1] = 2
    answer[#answer + 1] = asked > perDay and -1 or math.ceil(untilMidnight)
  else
    if cost > 0 then
      if rate > 0 then empty = after end
      used = used + cost
    end
    answer[#answer + 1] = 0
    answer[#answer + 1] = -1
  end
end
redis.call('HSET', KEYS[1], 'empty', string.format('%.6f', empty), 'day', day, 'used', used, 'history', counted)
redis.call('EXPIRE', KEYS[1], math.max(172800, math.ceil((empty - now) / 1000)))
return answer`;

const OUTCOMES = ["charged", "rate_limited", "quota_exhausted"] as const;
/** Redis has no count of the day: only the ledger has it. */
const UNSEEDED = -1;
/** Redis may lack a part of the day. As the day of a seed: the ledger did not answer, continue without it. */
const UNSURE = -2;
/** Additional time for the ledger's answer, once per day and key. */
const SEED_PATIENCE = 10;

interface Seed {
  readonly day: number;
  readonly used: number;
}

/** Limits of a cluster, on a connection of its own. Never repeats a charge. */
export class RedisLimiter implements Limiter {
  readonly #options: RedisLimiterOptions;
  readonly #redis: RedisConnection;
  readonly #names: ReturnType<typeof redisNames>;
  readonly #stopWatching: () => void;

  constructor(options: RedisLimiterOptions) {
    const { health, timers } = options;
    this.#options = options;
    this.#names = redisNames(options.clusterId);
    // An abandoned command stays in the queue of replies until its answer or this time-out.
    this.#redis = connectRedis({ ...options, commandTimeoutMs: 10 * options.timeoutMs });
    this.#redis.on("ready", () => options.onConnected?.());
    const probe = () => this.#redis.del(this.#names.nothing);
    this.#stopWatching = watchRedis({ connections: [this.#redis], probe, health, timers });
  }

  async charge(order: ChargeOrder): Promise<readonly Charged[]> {
    const answer = await this.#run(order, { day: UNSEEDED, used: 0 });
    if (!asksForSeed(answer)) return read(answer);
    const seeded = await this.#runSeeded(order, answer);
    // Midnight passed in the meantime.
    const again = asksForSeed(seeded) ? await this.#runSeeded(order, seeded) : seeded;
    if (asksForSeed(again)) throw new Error("the day could not be read in a day");
    return read(again);
  }

  async #runSeeded(order: ChargeOrder, [kind, day = 0]: readonly number[]): Promise<readonly number[]> {
    const { readCharged, timeoutMs } = this.#options;
    const reading = this.#within(SEED_PATIENCE * timeoutMs, readCharged(order.keyId, new Date(day * DAY_MS)));
    const seed = reading.then((used) => ({ day, used }));
    const unsure = { day: UNSURE, used: 0 };
    return this.#run(order, await (kind === UNSURE ? seed.catch(() => unsure) : seed));
  }

  async close(): Promise<void> {
    this.#stopWatching();
    this.#redis.disconnect();
  }

  async #run({ keyId, limits, costs }: ChargeOrder, seed: Seed): Promise<readonly number[]> {
    const { requestsPerSecond: rate, burst, requestsPerDay } = limits;
    const args = [rate, burst || rate, requestsPerDay, seed.day, seed.used, ...costs];
    const answer = this.#redis.eval(CHARGE, 1, this.#names.limits(keyId), ...args) as Promise<number[]>;
    return this.#within(this.#options.timeoutMs, answer);
  }

  /**
   * Checks once more after the time-out: after a stall of this process timers run before sockets are read. An answer
   * that has arrived would be dropped, and its request let through uncharged.
   */
  #within<T>(ms: number, answer: Promise<T>): Promise<T> {
    const { timers } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    let timer = timers.after(ms, () => {
      timer = timers.after(0, () => reject(new Error("the limiter does not answer")));
    });
    answer.then(resolve, reject);
    return promise.finally(() => timer.cancel());
  }
}

function asksForSeed([first]: readonly number[]): boolean {
  return first === UNSEEDED || first === UNSURE;
}

function read(answer: readonly number[]): Charged[] {
  return Array.from({ length: answer.length / 2 }, (_, at) => {
    const [code = 0, retryAfterMs = -1] = answer.slice(2 * at, 2 * at + 2);
    const outcome = OUTCOMES[code] ?? "rate_limited";
    return { outcome, ...(retryAfterMs < 0 ? {} : { retryAfterMs }) };
  });
}
