import type { Run, Scenario } from "./simulate.ts";

type Direct = NonNullable<Scenario["direct"]>;

/** Asks every few milliseconds, as a busy agent does. */
function keepAsking(run: Run, node: number, keyId: string, from: number): void {
  const ask = () => {
    const asked = run.nodes[node];
    if (asked !== undefined) run.verify(asked, keyId, 1);
    run.world.later(4, ask);
  };
  run.world.later(from, ask);
}

function narrowAt(run: Run, at: number, node: number, keyId: string): void {
  run.world.later(at, () => {
    const revoker = run.nodes[node];
    if (revoker !== undefined) run.narrow(revoker, keyId, { way: "revoke" });
  });
}

function cutAt(run: Run, at: number, node: number, purposes: readonly ("lease" | "read" | "change" | "bus")[]): void {
  run.world.later(at, () => {
    const machine = run.nodes[node]?.machine;
    if (machine !== undefined) run.cut.set(machine, new Set(purposes));
  });
}

function mendAt(run: Run, at: number, node: number): void {
  run.world.later(at, () => {
    const machine = run.nodes[node]?.machine;
    if (machine !== undefined) run.cut.delete(machine);
  });
}

/** Schedules that chance seldom finds. Each holds with all rules on, and shows the rule that is named after it. */
export const DIRECTED: Readonly<Record<string, Direct>> = {
  "a fast revoker and a slow verifier"(run) {
    run.join({ rate: 1.02 });
    run.join({ rate: 0.98 });
    keepAsking(run, 1, "key_a", 50);
    const at = 200 + run.chance.next() * 250;
    cutAt(run, at, 1, ["lease", "bus"]);
    narrowAt(run, at + 1, 0, "key_a");
  },
  "a longer term than the revoker's own"(run) {
    run.join({ termMs: 1000 });
    run.join({ termMs: 2000 });
    keepAsking(run, 1, "key_a", 50);
    cutAt(run, 400, 1, ["lease", "bus"]);
    narrowAt(run, 450, 0, "key_a");
  },
  "joins while a key is revoked"(run) {
    run.join({});
    run.slowMs = 400;
    narrowAt(run, 300, 0, "key_a");
    run.world.later(280 + run.chance.next() * 20, () => run.join({}));
    keepAsking(run, 1, "key_a", 281);
    run.loss = 1;
  },
  "joins while the registry is being read"(run) {
    run.join({});
    run.loss = 1;
    run.slowMs = 600;
    // Somebody waits already, so that the registry is being read when the second revocation begins.
    for (let i = 0; i < 6; i++) narrowAt(run, 300 + i * 20, 0, ["key_b", "key_c"][i % 2] ?? "");
    const joins = 300 + run.chance.next() * 100;
    run.world.later(joins, () => run.join({}));
    keepAsking(run, 1, "key_a", joins + 1);
    narrowAt(run, joins + 15 + run.chance.next() * 60, 0, "key_a");
  },
  "the revoker cannot read the registry"(run) {
    run.join({ termMs: 1000 });
    // A lease that outlives the revoker's patience.
    run.join({ termMs: 4000 });
    keepAsking(run, 1, "key_a", 50);
    cutAt(run, 290, 1, ["lease", "bus"]);
    narrowAt(run, 300, 0, "key_a");
    cutAt(run, 303 + run.chance.next() * 6, 0, ["change"]);
  },
  "a backup is restored"(run) {
    restore(run, 1);
  },
  "a backup is restored and outgrows what was lost"(run) {
    restore(run, 4);
  },
  "the feed is trimmed beyond what a node has"(run) {
    run.join({});
    run.join({});
    keepAsking(run, 1, "key_a", 50);
    cutAt(run, 300, 1, ["lease", "bus"]);
    narrowAt(run, 310, 0, "key_a");
    run.world.later(330, () => run.database.trim());
    mendAt(run, 500, 1);
  },
};

/** Back to before two changes that a node has applied; then others change, while nothing is pushed to it. */
function restore(run: Run, changes: number): void {
  run.join({});
  run.join({});
  let goBack: () => void = () => undefined;
  run.world.later(200, () => {
    goBack = run.database.backup();
  });
  narrowAt(run, 250, 0, "key_b");
  narrowAt(run, 350, 0, "key_c");
  keepAsking(run, 1, "key_a", 50);
  cutAt(run, 1000, 1, ["lease", "bus"]);
  run.world.later(1010, () => {
    run.forget();
    goBack();
  });
  narrowAt(run, 1020, 0, "key_a");
  const others = ["key_b", "key_c"];
  for (let i = 1; i < changes; i++) {
    run.world.later(1030 + i * 10, () => {
      run.database.change(others[i % 2] ?? "", {}, { narrows: false });
    });
  }
  mendAt(run, 1250, 1);
}
