import { createHmac, timingSafeEqual } from "node:crypto";
import type { Redis } from "ioredis";
import { type Ack, type Change, MAX_NAMED_KEYS } from "../keys/change.ts";
import type { ChangeBus } from "../revocation/change-bus.ts";
import type { Random } from "../system/clocks.ts";
import { isObject } from "../system/json.ts";
import { connectRedis, connectSubscriber, type RedisConnection, reconnect } from "./connect-redis.ts";
import { redisNames } from "./names.ts";
import type { RedisAddress } from "./parse-redis-url.ts";
import { type RedisHealth, type Timers, watchRedis } from "./watch-redis.ts";

export interface RedisBusOptions {
  /** The channel of this process to itself. */
  readonly local: Omit<ChangeBus, "close">;
  readonly address: RedisAddress;
  readonly clusterId: string;
  /** Maximum milliseconds for one command. */
  readonly commandTimeoutMs: number;
  /** Keys of the messages, newest first: the first seals, all open. */
  readonly keys: readonly [Buffer, ...Buffer[]];
  /** Called for dropped messages and failed listeners. */
  readonly onWarning: (problem: string) => void;
  /** Spreads attempts to reconnect, and names this process. */
  readonly random: Random;
  readonly timers: Timers;
  readonly health: RedisHealth;
}

/** Messages to itself, one a second, that a process may miss before it considers its connections deaf. */
const MOST_MISSED = 3;

/**
 * Carries changes and acknowledgements by Redis' pub/sub, on one connection for commands and one for subscriptions. A
 * process delivers its own messages to itself without Redis. Messages that a process misses while a connection is lost
 * are not repeated. Each second a process sends itself a message through Redis: after a failover, or when a node has
 * left a cluster, two live connections may lead to servers that no longer exchange messages.
 */
export class RedisBus implements ChangeBus {
  readonly #options: RedisBusOptions;
  readonly #names: ReturnType<typeof redisNames>;
  readonly #commands: RedisConnection;
  readonly #subscriber: Redis;
  /** Names this process in its messages. */
  readonly #self: string;
  readonly #echo: string;
  readonly #stopWatching: () => void;
  #isSubscribed = false;
  #said = 0;
  #heard = 0;

  constructor(options: RedisBusOptions) {
    this.#options = options;
    this.#names = redisNames(options.clusterId);
    this.#commands = connectRedis(options);
    this.#subscriber = connectSubscriber(options);
    this.#self = Buffer.from(options.random(16)).toString("hex");
    this.#echo = this.#names.echo(this.#self);
    this.#subscriber.on("message", (channel: string, text: string) => this.#hear(channel, text));
    this.#subscriber.on("ready", () => void this.#subscribe());
    this.#subscriber.on("close", () => {
      this.#isSubscribed = false;
    });
    const { health, timers } = options;
    const connections = [this.#commands, this.#subscriber];
    this.#stopWatching = watchRedis({ connections, probe: () => this.#sayToItself(), health, timers });
  }

  async push(change: Change): Promise<void> {
    // The others first: they are further away.
    const published = this.#publish(this.#names.changes, change);
    await this.#deliverChange(change);
    await published;
  }

  acknowledge(ack: Ack): void {
    this.#deliverAck(ack);
    void this.#publish(this.#names.acks, ack);
  }

  onChange(listener: (change: Change) => void): () => void {
    return this.#options.local.onChange(listener);
  }

  onAck(listener: (ack: Ack) => void): () => void {
    return this.#options.local.onAck(listener);
  }

  /** Whether both connections are up, as far as is known, and the channels are heard. */
  isConnected(): boolean {
    return this.#isSubscribed && this.#commands.status === "ready";
  }

  async close(): Promise<void> {
    this.#stopWatching();
    this.#commands.disconnect();
    this.#subscriber.disconnect();
  }

  async #subscribe(): Promise<void> {
    try {
      await this.#subscriber.subscribe(this.#names.changes, this.#names.acks, this.#echo);
      this.#isSubscribed = this.#subscriber.status === "ready";
      this.#heard = this.#said;
    } catch {
      reconnect(this.#subscriber);
    }
  }

  async #sayToItself(): Promise<void> {
    // A replica accepts a message and does not forward it; it refuses a write.
    await this.#commands.del(this.#names.nothing);
    await this.#subscriber.ping();
    if (!this.#isSubscribed) throw new Error("the subscription was not answered");
    if (this.#said - this.#heard >= MOST_MISSED) {
      for (const connection of [this.#commands, this.#subscriber]) reconnect(connection);
      throw new Error("messages do not arrive");
    }
    await this.#commands.publish(this.#echo, String(this.#said + 1));
    this.#said += 1;
  }

  async #publish(channel: string, message: Change | Ack): Promise<void> {
    try {
      const about = { cluster: this.#options.clusterId, from: this.#self };
      const text = sealMessage(this.#options.keys[0], { ...about, ...message });
      await this.#commands.publish(channel, text);
    } catch {
      // Redis makes revocations fast. Their correctness does not depend on it.
    }
  }

  #hear(channel: string, text: string): void {
    if (channel === this.#echo) {
      this.#heard = Number(text);
      return;
    }
    // Delivered already, when it was sent.
    if (text.includes(this.#self)) return;
    const { keys, clusterId, onWarning } = this.#options;
    const message = openMessage(keys, text);
    const isOurs = isObject(message) && message.cluster === clusterId;
    const change = isOurs && channel === this.#names.changes ? readChange(message) : undefined;
    const ack = isOurs && channel === this.#names.acks ? readAck(message) : undefined;
    if (change !== undefined) void this.#deliverChange(change);
    else if (ack !== undefined) this.#deliverAck(ack);
    else onWarning("dropped a message on the change bus; see that all nodes share root secrets and run one version");
  }

  async #deliverChange(change: Change): Promise<void> {
    try {
      await this.#options.local.push(change);
    } catch (error) {
      this.#warnOfListener(error);
    }
  }

  #deliverAck(ack: Ack): void {
    try {
      this.#options.local.acknowledge(ack);
    } catch (error) {
      this.#warnOfListener(error);
    }
  }

  #warnOfListener(error: unknown): void {
    this.#options.onWarning(`a listener of the change bus failed (${String(error)}); please report it as a defect`);
  }
}

function readChange({ revision, identity, keyIds }: Readonly<Record<string, unknown>>): Change | undefined {
  if (!isRevision(revision) || !isName(identity)) return undefined;
  if (keyIds === "all") return { revision, identity, keyIds };
  const isNamed =
    Array.isArray(keyIds) && keyIds.length <= MAX_NAMED_KEYS && keyIds.every((keyId) => typeof keyId === "string");
  return isNamed ? { revision, identity, keyIds } : undefined;
}

function readAck(message: Readonly<Record<string, unknown>>): Ack | undefined {
  const { revision, identity, epoch, waitedOutAgents } = message;
  if (!isRevision(revision) || !isName(identity) || !isName(epoch)) return undefined;
  return { epoch, revision, identity, ...(isRevision(waitedOutAgents) ? { waitedOutAgents } : {}) };
}

function isName(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function isRevision(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

const MAC_CHARACTERS = 43;

/** Seals a message so that only holders of the key can create it: HMAC-SHA-256 in base64url, then the JSON. */
export function sealMessage(key: Buffer, message: unknown): string {
  const json = JSON.stringify(message);
  return macOf(key, json).toString("base64url") + json;
}

/** Opens a message that was sealed under one of the keys; undefined for any other text. */
export function openMessage(keys: readonly Buffer[], text: string): unknown {
  const mac = Buffer.from(text.slice(0, MAC_CHARACTERS), "base64url");
  const json = text.slice(MAC_CHARACTERS);
  const isGenuine = keys.some((key) => {
    const own = macOf(key, json);
    return own.length === mac.length && timingSafeEqual(own, mac);
  });
  return isGenuine ? JSON.parse(json) : undefined;
}

function macOf(key: Buffer, json: string): Buffer {
  return createHmac("sha256", key).update(json).digest();
}
