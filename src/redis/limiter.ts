import { type Charged, type ChargeOrder, DAY_MS } from "../keys/limits.ts";
import type { Random } from "../keys/random.ts";
import { connectRedis, type RedisConnection } from "./connect-redis.ts";
import { redisNames } from "./names.ts";
import type { RedisAddress } from "./parse-redis-url.ts";

/** Sets things off later; `verify/clocks.ts` has the same. */
interface Timers {
  after(ms: number, work: () => void): { cancel(): void };
}

export interface RedisLimiterOptions {
  readonly address: RedisAddress;
  readonly clusterId: string;
  readonly timers: Timers;
  /** Longest wait for one answer, in milliseconds. */
  readonly timeoutMs: number;
  /** What the ledger has of a key's day, for when Redis knows nothing of the key. */
  readonly readCharged: (keyId: string, dayStart: Date) => Promise<number>;
  /** Spreads attempts to reconnect. Default: no spread. */
  readonly random?: Random;
}

/**
 * `charge` of `keys/limits.ts`, by Redis' own clock, in milliseconds since 2026 so that a double keeps their
 * fractions. One hash per key: when its rate is empty, which day is counted, what was used on it. The day is in the
 * value, so that a key that is there and of yesterday begins with nothing, and one that is not there asks for its seed.
 */
const CHARGE = `local rate, burst, perDay = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local seedDay, seed = tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1767225600) * 1000 + tonumber(time[2]) / 1000
local today = math.floor(tonumber(time[1]) / 86400)
local untilMidnight = ((today + 1) * 86400 - tonumber(time[1])) * 1000 - tonumber(time[2]) / 1000
local spent = redis.call('HMGET', KEYS[1], 'empty', 'day', 'used')
local empty, day, used = tonumber(spent[1] or '0'), tonumber(spent[2] or '-1'), tonumber(spent[3] or '0')
if day < 0 and perDay > 0 then
  if seedDay ~= today then return {-1, today} end
  day, used = today, seed
elseif day >= 0 and day < today then
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
redis.call('HSET', KEYS[1], 'empty', string.format('%.6f', empty), 'day', day, 'used', used)
redis.call('EXPIRE', KEYS[1], math.max(172800, math.ceil((empty - now) / 1000)))
return answer`;

const OUTCOMES = ["charged", "rate_limited", "quota_exhausted"] as const;
const UNSEEDED = -1;
/** How much longer than Redis' answer the ledger's may take, once a day and key. */
const SEED_PATIENCE = 10;

/** Limits of a cluster, on a connection of its own. Never asks twice for the same charge. */
export class RedisLimiter {
  readonly #options: RedisLimiterOptions;
  readonly #redis: RedisConnection;
  readonly #names: ReturnType<typeof redisNames>;

  constructor(options: RedisLimiterOptions) {
    this.#options = options;
    this.#names = redisNames(options.clusterId);
    // What is given up here stays in the queue of replies until it comes, or until then.
    this.#redis = connectRedis({ ...options, commandTimeoutMs: 10 * options.timeoutMs });
  }

  async charge(order: ChargeOrder): Promise<readonly Charged[]> {
    const answer = await this.#run(order, { day: UNSEEDED, used: 0 });
    if (answer[0] !== UNSEEDED) return read(answer);
    const seeded = await this.#runSeeded(order, answer[1] ?? 0);
    // Midnight came meanwhile.
    const again = seeded[0] === UNSEEDED ? await this.#runSeeded(order, seeded[1] ?? 0) : seeded;
    if (again[0] === UNSEEDED) throw new Error("the day could not be read in a day");
    return read(again);
  }

  async #runSeeded(order: ChargeOrder, day: number): Promise<readonly number[]> {
    const { readCharged, timeoutMs } = this.#options;
    const reading = readCharged(order.keyId, new Date(day * DAY_MS));
    return this.#run(order, { day, used: await this.#within(SEED_PATIENCE * timeoutMs, reading) });
  }

  async close(): Promise<void> {
    this.#redis.disconnect();
  }

  async #run(
    { keyId, limits, costs }: ChargeOrder,
    seed: { readonly day: number; readonly used: number },
  ): Promise<readonly number[]> {
    const { requestsPerSecond: rate, burst, requestsPerDay } = limits;
    const args = [rate, burst || rate, requestsPerDay, seed.day, seed.used, ...costs];
    const answer = this.#redis.eval(CHARGE, 1, this.#names.limits(keyId), ...args) as Promise<number[]>;
    return this.#within(this.#options.timeoutMs, answer);
  }

  /**
   * Looks once more when the time is over: after a stall of this process timers run before sockets are read, and an
   * answer that is there would be given up, its request let through uncharged.
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

function read(answer: readonly number[]): Charged[] {
  return Array.from({ length: answer.length / 2 }, (_, at) => {
    const [code = 0, retryAfterMs = -1] = answer.slice(2 * at, 2 * at + 2);
    const outcome = OUTCOMES[code] ?? "rate_limited";
    return { outcome, ...(retryAfterMs < 0 ? {} : { retryAfterMs }) };
  });
}
