import { KEYS, type Run, TERM_MS } from "./run.ts";
import type { SimNode } from "./sim-node.ts";

type Strike = "stall" | "sleep" | "cut" | "bus" | "crash" | "join" | "exit" | "trim";

/** As often as they are named. */
export const STRIKES: readonly Strike[] = [
  ...(["stall", "stall", "sleep", "cut", "cut", "cut", "bus", "crash", "join", "exit", "trim"] as const),
];

/** Everything that chance may do to a cluster of three. */
export function improvise(run: Run, lastsMs: number): void {
  const { world, chance, nodes } = run;
  const any = () => chance.pick(nodes.filter(({ machine, isServing }) => isServing && !machine.isDead));
  const mixed = chance.flip(0.2);
  for (let i = 0; i < 3; i++) run.join(mixed ? { termMs: TERM_MS * (i === 0 ? 2 : 1) } : {});
  run.network.loss = chance.pick([0, 0, 0.3, 0.8]) ?? 0;
  run.network.slowMs = chance.pick([0, 300, 900, 1600]) ?? 0;

  for (const keyId of KEYS) {
    for (const node of nodes)
      world.later(50 + chance.next() * 100, () => run.verify(node, keyId, chance.flip(0.5) ? 1 : 2));
  }
  const client = () => {
    const node = any();
    if (node !== undefined) run.verify(node, chance.pick(KEYS) ?? "", chance.flip(0.7) ? 1 : 2);
    world.later(chance.next() * 50, client);
  };
  world.later(100, client);

  for (const keyId of KEYS) {
    const at = 200 + chance.next() * (lastsMs * 0.6);
    const way = chance.pick(["revoke", "disable", "retire"] as const) ?? "revoke";
    const graceMs = chance.pick([0, 0, 300]) ?? 0;
    const revive = () => {
      const [node, other] = [any(), any()];
      if (node === undefined || other === undefined || way !== "disable" || !chance.flip(0.6)) return;
      world.later(chance.next() * 200, () => run.enable(node, keyId));
      world.later(300 + chance.next() * 500, () => run.narrow(other, keyId, { way: "revoke" }));
    };
    world.later(at, () => {
      const node = any();
      if (node !== undefined) run.narrow(node, keyId, { way, graceMs, onAnswered: revive });
    });
  }

  const strikes = chance.below(5);
  for (let i = 0; i < strikes; i++) {
    world.later(100 + chance.next() * (lastsMs - 500), () => {
      const node = any();
      if (node !== undefined) strike(run, node);
    });
  }
}

/** One of the things that befall a node. */
export function strike(run: Run, node: SimNode, kinds: readonly Strike[] = STRIKES): void {
  const { world, chance, network } = run;
  const { machine } = node;
  const ms = 100 + chance.next() * chance.next() * 3500;
  const what = chance.pick(kinds);
  world.note(`${what} for ${ms.toFixed(0)}`);
  const strikes = {
    stall: () => machine.stall(ms),
    sleep: () => machine.sleep(ms),
    cut() {
      const purposes = chance.pick([["lease"], ["read"], ["change"], ["lease", "read", "change"]] as const) ?? [];
      network.cut(machine, purposes);
      world.later(ms, () => network.mend(machine));
    },
    bus() {
      network.cut(machine, ["bus"]);
      world.later(ms, () => network.mend(machine));
    },
    crash() {
      machine.die();
      run.agents.lose(node);
      world.later(chance.next() * 300, () => run.join());
    },
    join: () => void run.join(),
    exit: () => void node.exit(),
    trim: () => run.database.trim(),
  };
  strikes[what ?? "stall"]();
}
