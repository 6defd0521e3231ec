/** An agent: verifies with the SDK without end, mostly from memory, and tells its parent what it saw. */
import { createVerifier, type Verification } from "../../src/sdk/index.ts";
import { Chance } from "../../testkit/chance.ts";
import type { AgentSettings, Answered, Order, Report } from "./agent-messages.ts";
import { hostMs } from "./host-clock.ts";

const TICK_MS = 20;
const PER_TICK = 6;
const TELL_MS = 50;
/** Questions to servers at once. */
const MOST_ASKED = 6;
/** What some questions ask for; of it narrowing may take a part away. */
const SCOPES = ["a:b", "c:d"];

interface Known {
  readonly keyId: string;
  readonly secret: string;
  isFading: boolean;
}

const settings: AgentSettings = JSON.parse(process.argv[2] ?? "");
const chance = new Chance(settings.agent);
const known = new Map<string, Known>();
const asked = new Set<string>();
let answered: Answered[] = [];
let op = 0;
let reattachments = 0;
/** Since when it has lost its stream, or its lease, until it has had another for certain. */
let lostFrom: number | undefined;

const verifier = createVerifier({
  ...{ url: settings.urls, token: settings.token, reportEveryMs: 1000, timeoutMs: 1500 },
  onBroken: () => {
    lostFrom = hostMs();
  },
});

function verifyOne({ keyId, secret }: Known): void {
  const narrow = chance.flip(0.3);
  const question = narrow ? { scopes: SCOPES } : {};
  op += 1;
  const begun = { op, keyId, narrow, invoked: hostMs() };
  const note = (fromMemory: boolean, verification?: Verification) =>
    answered.push({ ...begun, returned: hostMs(), verdict: verification?.verdict, fromMemory });
  const verification = verifier.verifySync(secret, question);
  if (verification !== "ask") {
    note(true, verification);
  } else if (asked.size < MOST_ASKED && !asked.has(keyId)) {
    asked.add(keyId);
    const done = verifier.verify(secret, question).then(
      (found) => note(false, found),
      () => note(false),
    );
    void done.finally(() => asked.delete(keyId));
  }
}

function tick(): void {
  const all = [...known.values()];
  const fading = all.filter(({ isFading }) => isFading);
  for (let i = 0; i < PER_TICK; i++) {
    const one = chance.pick(fading.length > 0 && chance.flip(0.6) ? fading : all);
    if (one !== undefined) verifyOne(one);
  }
}

/** A lease of the stream before may run on for as long as a lease lasts; one that is there later is another. */
function lookForReattachment(): void {
  if (!verifier.fresh) lostFrom ??= hostMs() - settings.leaseMs;
  else if (lostFrom !== undefined && hostMs() > lostFrom + settings.leaseMs) {
    lostFrom = undefined;
    reattachments += 1;
  }
}

function tell(): void {
  lookForReattachment();
  const report: Report = { answered, fresh: verifier.fresh, reattachments };
  answered = [];
  process.send?.(report);
}

process.on("message", ({ learn, fade, forget }: Order) => {
  if (learn !== undefined) known.set(learn.keyId, { ...learn, isFading: false });
  const fading = known.get(fade ?? "");
  if (fading !== undefined) fading.isFading = true;
  if (forget !== undefined) known.delete(forget);
});
// The parent has died.
process.on("disconnect", () => process.exit());
setInterval(tick, TICK_MS);
setInterval(tell, TELL_MS);
