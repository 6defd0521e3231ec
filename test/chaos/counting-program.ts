/** An agent that verifies, and says of each verdict where it came from before anybody else can hear of it. */
import { AsyncLocalStorage } from "node:async_hooks";
import { writeSync } from "node:fs";
import { createVerifier } from "../../src/sdk/index.ts";
import type { Counted, CountingSettings } from "./counting-agent.ts";
import { hostMs } from "./host-clock.ts";

const TICK_MS = 10;
const PER_TICK = 5;
const MOST_ASKED = 4;

const settings: CountingSettings = JSON.parse(process.argv[2] ?? "");
const asking = new AsyncLocalStorage<true>();
const underWay = new Set<Promise<void>>();
let isClosing = false;

/** It is in the pipe when this returns: what is killed afterwards has said so. */
const say = (what: Counted, count = 1) => void writeSync(1, `${what} ${count} ${hostMs()}\n`);

const verifier = createVerifier({
  ...{ url: settings.urls, reportEveryMs: settings.reportEveryMs, timeoutMs: 2000 },
  // Asked for by each call to a server, and by each stream, which belongs to no question.
  token: () => {
    if (asking.getStore()) say("call");
    return settings.token;
  },
});

function ask(secret: string): void {
  if (isClosing || underWay.size >= MOST_ASKED) return;
  say("question");
  const work = asking.run(true, async () => {
    await verifier.verify(secret, { method: "/a.B/C" }).then(
      () => say("answer"),
      () => say("failure"),
    );
  });
  const done = work.finally(() => underWay.delete(done));
  underWay.add(done);
}

function tick(): void {
  let known = 0;
  for (let i = 0; i < PER_TICK; i++) if (verifier.verifySync(settings.free, { method: "/a.B/C" }) !== "ask") known += 1;
  if (known > 0) say("memory", known);
  if (known < PER_TICK) ask(settings.free);
  ask(settings.limited);
}

/** It goes on verifying meanwhile, as agents do. */
async function close(): Promise<void> {
  isClosing = true;
  await Promise.all(underWay);
  await verifier.close();
  process.exit(0);
}

const ticking = setInterval(tick, TICK_MS);
ticking.ref();
process.on("message", () => void close());
// The parent has died.
process.on("disconnect", () => process.exit());
