import type { Direct } from "./directed.ts";
import type { SimAgent } from "./sim-agent.ts";
import type { SimNode } from "./sim-node.ts";
import type { Run } from "./simulate.ts";

function keepAsking(run: Run, agent: SimAgent, keyId: string, from: number): void {
  const ask = () => {
    run.agents.verify(agent, keyId, 1);
    run.world.later(4, ask);
  };
  run.world.later(from - run.world.now, ask);
}

function revokeAt(run: Run, at: number, node: SimNode, keyId: string): void {
  run.world.later(at - run.world.now, () => run.narrow(node, keyId, { way: "revoke" }));
}

/** Others change all the time, so that a node pays each acknowledgement as soon as it may. */
function keepChanging(run: Run, node: SimNode, from: number): void {
  const change = () => {
    run.enable(node, "key_b");
    run.world.later(5, change);
  };
  run.world.later(from, change);
}

/** A lease of the agent's, just granted by the node, outlives what the node takes it for. */
function holdAfterGrant(run: Run, agent: SimAgent, at: number): void {
  run.world.later(at, () => agent.stream?.down.hold(20_000));
}

/** Schedules of agents that chance seldom finds; see `directed.ts`. */
export const DIRECTED_AGENTS: Readonly<Record<string, Direct>> = {
  "a fast node and a slow agent that hears nothing"(run) {
    const revoker = run.join({});
    const node = run.join({ rate: 1.02, termMs: 3000 });
    const at = 300 + run.chance.next() * 300;
    const agent = run.agents.join({ rate: 0.98, node: () => (run.world.now < at ? node : undefined) });
    keepAsking(run, agent, "key_a", 100);
    keepChanging(run, revoker, 300);
    holdAfterGrant(run, agent, at);
    revokeAt(run, at + 1, revoker, "key_a");
  },
  "a node whose streams stay open registers anew"(run) {
    const revoker = run.join({});
    const node = run.join({});
    keepAsking(run, run.agents.join({ node }), "key_a", 50);
    run.world.later(300, () => run.network.cut(node.machine, ["lease", "bus"]));
    revokeAt(run, 310, revoker, "key_a");
    run.world.later(330, () => run.database.trim());
    run.world.later(400 + run.chance.next() * 300, () => run.network.mend(node.machine));
  },
  "a node registers anew, and its agent does not hear of it"(run) {
    const revoker = run.join({});
    const node = run.join({});
    const agent = run.agents.join({ node });
    keepAsking(run, agent, "key_a", 50);
    run.world.later(300, () => run.network.cut(node.machine, ["lease", "bus"]));
    holdAfterGrant(run, agent, 300);
    revokeAt(run, 310, revoker, "key_a");
    run.world.later(330, () => run.database.trim());
    run.world.later(340 + run.chance.next() * 200, () => run.network.mend(node.machine));
  },
  "an agent that has a lease asks another node, which is slow to grant one"(run) {
    const [first, second] = [run.join({}), run.join({})];
    run.world.later(100, () => run.verify(second, "key_a", 1));
    let node = first;
    const agent = run.agents.join({ node: () => node });
    run.world.later(150, () => run.network.lag.set(second.machine, { purposes: ["read"], thereMs: 0, backMs: 300 }));
    const at = 300 + run.chance.next() * 200;
    run.world.later(at, () => {
      node = second;
      agent.stream?.break({ agent: 1, node: undefined });
    });
    keepAsking(run, agent, "key_a", at + 2);
    run.world.later(at + 35 + run.chance.next() * 20, () => agent.stream?.down.hold(20_000));
    revokeAt(run, at + 60, first, "key_a");
  },
  "a node stops while its agent hears nothing"(run) {
    const revoker = run.join({});
    const node = run.join({});
    const agent = run.agents.join({ node });
    keepAsking(run, agent, "key_a", 50);
    const at = 300 + run.chance.next() * 300;
    run.world.later(at, () => {
      agent.stream?.down.hold(20_000);
      node.exit();
    });
    revokeAt(run, at + 250 + run.chance.next() * 100, revoker, "key_a");
  },
  "the wall clock of a node is set on, and a lease that it grants ends before the one before"(run) {
    const revoker = run.join({});
    const node = run.join({ rate: 1 });
    const agent = run.agents.join({ rate: 1, node });
    keepAsking(run, agent, "key_a", 100);
    const at = 400 + run.chance.next() * 400;
    holdAfterGrant(run, agent, at);
    run.world.later(at, () => node.machine.setWall(700));
    revokeAt(run, at + 150 * run.chance.next(), revoker, "key_a");
  },
  "an agent's question is read slowly, and the key is revoked meanwhile"(run) {
    const revoker = run.join({});
    const node = run.join({});
    const agent = run.agents.join({ node });
    run.network.lag.set(node.machine, { purposes: ["read"], thereMs: 0, backMs: 300 });
    const at = 400 + run.chance.next() * 200;
    run.world.later(at, () => run.agents.verify(agent, "key_a", 1));
    revokeAt(run, at + 20, revoker, "key_a");
    keepAsking(run, agent, "key_a", at + 320);
  },
};
