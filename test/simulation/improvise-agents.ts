import { CLOCK_RATE_ERROR } from "../../src/system/clocks.ts";
import { KEYS, type Run } from "./run.ts";
import type { SimAgent } from "./sim-agent.ts";

type Strike = "stall" | "sleep" | "hold" | "hold up" | "hold down" | "break" | "crash" | "leave" | "set clock";

/** As often as they are named. */
const STRIKES: readonly Strike[] = [
  ...(["stall", "stall", "sleep", "hold", "hold up", "hold down", "hold down", "break", "crash", "leave"] as const),
];
/** Of a machine whose wall clock is set back while it sleeps, no clock counts the sleep: the assumptions exclude it. */
const WITH_CLOCKS_SET: readonly Strike[] = [...STRIKES.filter((kind) => kind !== "sleep"), "set clock", "set clock"];

/** Three verifiers inside agents, and everything that chance may do to them and to their streams. */
export function improviseAgents(run: Run, lastsMs: number): void {
  const { world, agents } = run;
  const { chance } = agents;
  const rate = () => 1 + CLOCK_RATE_ERROR * (2 * chance.next() - 1);
  const join = () => {
    const agent = agents.join({ rate: rate(), wallRate: rate() });
    const ask = () => {
      if (agent.machine.isDead) return;
      agents.verify(agent, chance.pick(KEYS) ?? "", chance.flip(0.7) ? 1 : 2);
      world.later(chance.next() * 120, ask);
    };
    world.later(20, ask);
  };
  agents.slowMs = chance.pick([0, 200, 600, 1200]) ?? 0;
  for (let i = 0; i < 3; i++) world.later(chance.next() * 100, join);

  const kinds = chance.flip(0.2) ? WITH_CLOCKS_SET : STRIKES;
  for (let strikes = chance.below(7); strikes > 0; strikes--) {
    world.later(150 + chance.next() * (lastsMs - 600), () => {
      const agent = chance.pick(agents.alive());
      if (agent !== undefined) strike(run, agent, { kinds, join });
    });
  }
}

/** One of the things that befall an agent. */
function strike(
  run: Run,
  agent: SimAgent,
  how: { readonly kinds: readonly Strike[]; readonly join: () => void },
): void {
  const { world, agents } = run;
  const { chance } = agents;
  const { machine, stream, verifier } = agent;
  const ms = 50 + chance.next() * chance.next() * 2500;
  const what = chance.pick(how.kinds);
  const later = () => (chance.flip(0.3) ? undefined : chance.next() * chance.next() * 1500);
  world.note(`${what} of ${agent.name} for ${ms.toFixed(0)}`);
  const strikes = {
    stall: () => machine.stall(ms),
    sleep: () => machine.sleep(ms),
    hold() {
      stream?.up.hold(ms);
      stream?.down.hold(ms);
    },
    "hold up": () => stream?.up.hold(ms),
    "hold down": () => stream?.down.hold(ms),
    break: () => stream?.break({ agent: later(), node: later() }),
    crash() {
      machine.die();
      stream?.break({ agent: undefined, node: later() });
      world.later(chance.next() * 300, how.join);
    },
    leave() {
      void verifier.close();
      world.later(chance.next() * 300, how.join);
    },
    "set clock": () => machine.setWall((chance.next() - 0.5) * 7_200_000),
  };
  strikes[what ?? "stall"]();
}
