import { DIRECTED_AGENTS } from "./directed-agents.ts";
import type { Link, Purpose } from "./network.ts";
import type { Run, Scenario } from "./simulate.ts";

export type Direct = NonNullable<Scenario["direct"]>;

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

function cutAt(run: Run, at: number, node: number, purposes: readonly Link[]): void {
  run.world.later(at, () => {
    const machine = run.nodes[node]?.machine;
    if (machine !== undefined) run.network.cut(machine, purposes);
  });
}

function mendAt(run: Run, at: number, node: number): void {
  run.world.later(at, () => {
    const machine = run.nodes[node]?.machine;
    if (machine !== undefined) run.network.mend(machine);
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
    run.network.slowMs = 400;
    narrowAt(run, 300, 0, "key_a");
    run.world.later(280 + run.chance.next() * 20, () => run.join({}));
    keepAsking(run, 1, "key_a", 281);
    run.network.loss = 1;
  },
  "joins while the registry is being read"(run) {
    run.join({});
    run.network.loss = 1;
    run.network.slowMs = 600;
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
  "a primary is promoted, and the fence lets the leases through to the one that was"(run) {
    run.join({});
    run.join({});
    keepAsking(run, 1, "key_a", 50);
    run.world.later(300 + run.chance.next() * 200, () => leaveAtOld(run, 1, ["lease"]));
    cutAt(run, 501, 1, ["read", "bus"]);
    narrowAt(run, 510, 0, "key_a");
  },
  "a primary is promoted, and new connections of a node lead to the one that was"(run) {
    run.join({});
    run.join({});
    run.world.later(300, () => leaveAtOld(run, 1, ["read"]));
    narrowAt(run, 800, 0, "key_a");
    keepAsking(run, 1, "key_a", 801);
  },
  "a process takes the place of one that exits slowly"(run) {
    run.join({});
    const before = run.join({});
    run.world.later(200, () => {
      run.network.lag.set(before.machine, { purposes: ["lease"], thereMs: 150 + run.chance.next() * 100, backMs: 0 });
      void before.exit();
    });
    run.world.later(220, () => run.join({ after: before }));
    keepAsking(run, 2, "key_a", 250);
    cutAt(run, 340, 2, ["bus"]);
    narrowAt(run, 350 + run.chance.next() * 300, 0, "key_a");
  },
  "a holder renews while it is given up"(run) {
    const collector = run.join({});
    run.join({});
    run.join({});
    run.network.lag.set(collector.machine, { purposes: ["look", "change"], thereMs: 40, backMs: 40 });
    keepAsking(run, 1, "key_a", 50);
    cutAt(run, 300, 1, ["lease", "bus"]);
    const at = 2300 + run.chance.next() * 700;
    run.world.later(at, () => {
      const holder = run.nodes[1]?.machine;
      if (holder !== undefined) run.network.cut(holder, ["bus"]);
    });
    narrowAt(run, at + 60 + run.chance.next() * 300, 2, "key_a");
  },
  "a backup is restored while a collector cannot look"(run) {
    const collector = run.join({});
    const holder = run.join({});
    run.join({});
    let goBack: () => void = () => undefined;
    const lookedAt = 520 + run.chance.next() * 250;
    run.world.later(lookedAt - 12, () => {
      goBack = run.database.backup();
    });
    keepAsking(run, 1, "key_a", 50);
    cutAt(run, lookedAt, 0, ["change"]);
    run.world.later(2900, () => {
      run.network.cut(holder.machine, ["lease", "bus"]);
      run.promises.forget();
      goBack();
      run.network.mend(collector.machine);
    });
    narrowAt(run, 3200 + run.chance.next() * 300, 2, "key_a");
  },
  "a renewal acknowledges changes that a restored backup has lost"(run) {
    run.join({});
    run.join({});
    run.world.later(100, () => restoreAt(run, 600, run.database.backup()));
    for (const keyId of ["key_b", "key_c"]) narrowAt(run, 300, 0, keyId);
    keepAsking(run, 1, "key_a", 50);
    const at = 1000 + run.chance.next() * 400;
    cutAt(run, at, 1, ["lease", "bus"]);
    narrowAt(run, at + 5, 0, "key_a");
  },
  "what a lost change had reached is remembered after a backup is restored"(run) {
    const revoker = run.join({});
    run.join({});
    keepAsking(run, 1, "key_a", 50);
    run.world.later(400, () => restoreAt(run, 600, run.database.backup()));
    narrowAt(run, 410, 0, "key_a");
    run.world.later(415, () => run.network.lag.set(revoker.machine, { purposes: ["change"], thereMs: 600, backMs: 0 }));
    run.world.later(1300, () => run.network.lag.delete(revoker.machine));
    cutAt(run, 1300, 1, ["lease", "bus"]);
    narrowAt(run, 1310, 0, "key_a");
  },
  "a lost change is pushed after a backup is restored"(run) {
    const revoker = run.join({});
    run.join({});
    run.join({});
    keepAsking(run, 1, "key_b", 50);
    run.world.later(400, () => restoreAt(run, 600, run.database.backup()));
    cutAt(run, 405, 1, ["lease", "bus"]);
    narrowAt(run, 410, 0, "key_a");
    run.world.later(440, () => revoker.machine.stall(1200));
    mendAt(run, 600, 1);
    const at = 1950 + run.chance.next() * 400;
    cutAt(run, at, 1, ["lease", "bus"]);
    narrowAt(run, at + 5, 2, "key_b");
  },
  "a renewal and a change meet, and nothing is pushed"(run) {
    run.join({});
    run.join({});
    keepAsking(run, 1, "key_a", 50);
    cutAt(run, 100, 1, ["bus"]);
    for (const [index, keyId] of ["key_b", "key_a", "key_c"].entries()) {
      narrowAt(run, 300 + index * 30 + run.chance.next() * 250, 0, keyId);
    }
  },
  "a node registers anew during a slow read"(run) {
    run.join({});
    const reader = run.join({});
    run.network.lag.set(reader.machine, { purposes: ["read"], thereMs: 0, backMs: 600 });
    cutAt(run, 100, 1, ["bus"]);
    const at = 400 + run.chance.next() * 200;
    run.world.later(at - 10, () => run.verify(reader, "key_a", 1));
    narrowAt(run, at, 0, "key_a");
    run.world.later(at + 15, () => run.database.trim());
    keepAsking(run, 1, "key_a", at + 580);
  },
  "a read is slower than a lease"(run) {
    run.join({});
    const reader = run.join({ termMs: 500 });
    run.network.lag.set(reader.machine, { purposes: ["read"], thereMs: 0, backMs: 670 });
    const at = 400 + run.chance.next() * 200;
    cutAt(run, at, 1, ["lease", "bus"]);
    run.world.later(at + 1, () => run.verify(reader, "key_a", 1));
    narrowAt(run, at + 10, 0, "key_a");
    keepAsking(run, 1, "key_a", at + 540);
  },
  "a clock is set back while a node has no database"(run) {
    run.join({});
    const holder = run.join({});
    keepAsking(run, 1, "key_a", 50);
    cutAt(run, 400, 1, ["lease", "bus"]);
    run.world.later(410 + run.chance.next() * 500, () => holder.machine.setWall(-3_600_000));
    narrowAt(run, 500, 0, "key_a");
  },
  "a key is revoked as a node loses its lease, which it takes for renewed"(run) {
    run.join({});
    run.join({});
    keepAsking(run, 1, "key_a", 50);
    const at = 300 + run.chance.next() * 300;
    cutAt(run, at, 1, ["lease", "bus"]);
    narrowAt(run, at + 5, 0, "key_a");
  },
  "a secret ends after a grace that is shorter than a lease"(run) {
    run.join({});
    run.join({});
    keepAsking(run, 1, "key_a", 50);
    const at = 300 + run.chance.next() * 300;
    cutAt(run, at, 1, ["lease", "bus"]);
    retireAt(run, at + 5, { node: 0, graceMs: run.chance.next() * 400 });
  },
  ...DIRECTED_AGENTS,
};

/** What the assumptions exclude, and what then happens: not tests of the product, but of where its promise ends. */
export const BEYOND: Readonly<Record<string, Direct>> = {
  "a backup comes back within a lease, and does not know its holder"(run) {
    run.join({});
    run.world.later(200, () => {
      const goBack = run.database.backup();
      const holder = run.join({});
      keepAsking(run, 1, "key_a", 60);
      run.world.later(500, () => {
        run.network.cut(holder.machine, ["lease", "bus"]);
        run.promises.forget();
        goBack();
      });
    });
    narrowAt(run, 760, 0, "key_a");
  },
  "a secret ends by a node whose term is less than half of a holder's"(run) {
    run.join({ termMs: 500 });
    run.join({ termMs: 3000 });
    keepAsking(run, 1, "key_a", 50);
    cutAt(run, 700, 1, ["lease", "bus"]);
    retireAt(run, 710, { node: 0, graceMs: 1200 });
  },
};

function retireAt(run: Run, at: number, how: { readonly node: number; readonly graceMs: number }): void {
  run.world.later(at, () => {
    const node = run.nodes[how.node];
    if (node !== undefined) run.narrow(node, "key_a", { way: "retire", graceMs: how.graceMs });
  });
}

/** Another primary is promoted; these connections of the node stay at the one that was. */
function leaveAtOld(run: Run, node: number, purposes: readonly Purpose[]): void {
  const machine = run.nodes[node]?.machine;
  if (machine !== undefined) run.network.left.set(machine, { old: run.database.failOver(), purposes });
}

/** The database is as it was, and what was promised since is void. */
function restoreAt(run: Run, at: number, goBack: () => void): void {
  run.world.later(at - run.world.now, () => {
    run.promises.forget();
    goBack();
  });
}

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
    run.promises.forget();
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
