import type { Ack, Change } from "../keys/change.ts";
import { connectRedis, type RedisConnection } from "./connect-redis.ts";
import { redisNames } from "./names.ts";
import type { RedisAddress } from "./parse-redis-url.ts";
import { openMessage, sealMessage } from "./sealed-message.ts";

/** How a process hears what it says itself. */
export interface LocalBus {
  push(change: Change): Promise<void>;
  acknowledge(ack: Ack): void;
  onChange(listener: (change: Change) => void): () => void;
  onAck(listener: (ack: Ack) => void): () => void;
}

export interface RedisBusOptions {
  readonly local: LocalBus;
  readonly address: RedisAddress;
  readonly clusterId: string;
  /** Longest wait for one command, in milliseconds. */
  readonly commandTimeoutMs: number;
  /** Keys of the messages, newest first: the first seals, any opens. */
  readonly keys: readonly [Buffer, ...Buffer[]];
  /** Told of messages that were dropped. */
  readonly onWarning: (problem: string) => void;
}

/**
 * Carries changes and acknowledgements by Redis' pub/sub, on one commanding and one subscribing connection. This
 * process hears its own messages without Redis.
 */
export class RedisBus {
  readonly #options: RedisBusOptions;
  readonly #names: ReturnType<typeof redisNames>;
  readonly #commands: RedisConnection;
  readonly #subscriber: RedisConnection;

  constructor(options: RedisBusOptions) {
    this.#options = options;
    this.#names = redisNames(options.clusterId);
    this.#commands = connectRedis(options.address, options.commandTimeoutMs);
    this.#subscriber = connectRedis(options.address, options.commandTimeoutMs);
    this.#subscriber.on("message", (channel: string, text: string) => this.#hear(channel, text));
    // Each time: a subscription whose answer was lost is not repeated by ioredis.
    this.#subscriber.on("ready", () => {
      this.#subscriber.subscribe(this.#names.changes, this.#names.acks).catch(() => this.#subscriber.disconnect(true));
    });
  }

  async push(change: Change): Promise<void> {
    await this.#options.local.push(change);
    await this.#publish(this.#names.changes, change);
  }

  acknowledge(ack: Ack): void {
    this.#options.local.acknowledge(ack);
    void this.#publish(this.#names.acks, ack);
  }

  onChange(listener: (change: Change) => void): () => void {
    return this.#options.local.onChange(listener);
  }

  onAck(listener: (ack: Ack) => void): () => void {
    return this.#options.local.onAck(listener);
  }

  async close(): Promise<void> {
    this.#commands.disconnect();
    this.#subscriber.disconnect();
  }

  async #publish(channel: string, message: Change | Ack): Promise<void> {
    try {
      await this.#commands.publish(channel, sealMessage(this.#options.keys[0], message));
    } catch {
      // It is what makes revocations fast, not what makes them true.
    }
  }

  #hear(channel: string, text: string): void {
    const { keys, local, onWarning } = this.#options;
    const message = openMessage(keys, text);
    if (channel === this.#names.changes && isChange(message)) void local.push(message);
    else if (channel === this.#names.acks && isAck(message)) local.acknowledge(message);
    else onWarning("a message on the change bus was not made with this cluster's root secrets; dropped");
  }
}

function isChange(message: unknown): message is Change {
  if (!hasRevision(message) || !("keyIds" in message)) return false;
  const { keyIds } = message;
  return keyIds === "all" || (Array.isArray(keyIds) && keyIds.every((keyId) => typeof keyId === "string"));
}

function isAck(message: unknown): message is Ack {
  return hasRevision(message) && "epoch" in message && typeof message.epoch === "string";
}

function hasRevision(message: unknown): message is { readonly revision: number } {
  return (
    typeof message === "object" && message !== null && "revision" in message && Number.isSafeInteger(message.revision)
  );
}
