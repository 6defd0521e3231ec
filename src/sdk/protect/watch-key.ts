import { Code } from "@connectrpc/connect";
import type { Timers } from "../../system/clocks.ts";
import { systemTimers } from "../../system/node.ts";
import type { Refusal } from "../../wire/refusal.ts";
import type { Look, Recheck } from "./guard.ts";
import type { StreamOptions } from "./key-options.ts";
import type { Principal } from "./principal.ts";

/** Milliseconds between attempts while a key cannot be checked. */
const RETRY_MS = 5000;

export interface WatchSettings {
  readonly reverifyMs: number;
  readonly undecidedMs: number;
  readonly timers: Timers;
}

export function watchSettings(options: StreamOptions): WatchSettings {
  const { reverifyMs = 60_000, undecidedMs = 60_000, timers = systemTimers } = options;
  return { reverifyMs, undecidedMs, timers };
}

export interface KeyEvents {
  /** The key is still good, with its present verification. */
  readonly onGood?: (principal: Principal) => void;
  /** The stream must end: the key is dead, or could not be checked for too long. The last event. */
  readonly onDead: (refusal: Refusal) => void;
}

/**
 * Verifies the key of a stream each `reverifyMs`. A key is dead once the verdict is against the key, its address or its
 * scopes. A reached limit ends no stream, because a stream is charged when it begins. While the key cannot be checked, a
 * new attempt follows each 5 s. The stream ends `undecidedMs` after the first of these attempts, whether it failed or
 * hangs.
 */
export function watchKey(recheck: Recheck, settings: WatchSettings, events: KeyEvents): { stop(): void } {
  const { reverifyMs, undecidedMs, timers } = settings;
  let isOver = false;
  let next = timers.after(reverifyMs, check);
  let giveUp: { cancel(): void } | undefined;

  function stop(): void {
    isOver = true;
    next.cancel();
    giveUp?.cancel();
  }

  function end(refusal: Refusal): void {
    stop();
    try {
      events.onDead(refusal);
    } catch {
      // The framework has already ended the stream.
    }
  }

  function check(): void {
    giveUp ??= timers.after(undecidedMs, () => end(STILL_UNDECIDED));
    const look = recheck();
    if (look instanceof Promise) void look.then(settle);
    else settle(look);
  }

  function settle(look: Look): void {
    // A late answer: the stream has ended.
    if (isOver) return;
    if ("refusal" in look && isDead(look.refusal)) {
      end(look.refusal);
      return;
    }
    const isDecided = !("refusal" in look) || look.refusal.code === Code.ResourceExhausted;
    if (isDecided) {
      giveUp?.cancel();
      giveUp = undefined;
    }
    if ("principal" in look) events.onGood?.(look.principal);
    next = timers.after(isDecided ? reverifyMs : RETRY_MS, check);
  }

  return { stop };
}

function isDead({ code }: Refusal): boolean {
  return code === Code.Unauthenticated || code === Code.PermissionDenied;
}

const STILL_UNDECIDED: Refusal = {
  code: Code.Unavailable,
  reason: "LEASE_UNAVAILABLE",
  message: "the key of this stream could not be checked for too long, which says nothing about the key. Call again",
  metadata: {},
  retryAfterMs: 1000,
};
