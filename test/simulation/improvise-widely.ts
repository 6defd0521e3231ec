import { CLOCK_RATE_ERROR } from "../../src/system/clocks.ts";
import { STRIKES, strike } from "./improvise.ts";
import { DATABASE_LINKS } from "./network.ts";
import { KEYS, type Narrowing, type Run, TERM_MS } from "./run.ts";

/** Longer than any lease of this play lasts: a database that comes back from a backup was away meanwhile. */
const RESTORING_MS = 2200;

/** Rivals at the same keys, changes of D, failovers, backups, clocks that are set; and what befalls nodes elsewhere. */
export function improviseWidely(run: Run, lastsMs: number): void {
  const { world, chance, network } = run;
  const any = () => chance.pick(run.alive());
  const rate = () => 1 + CLOCK_RATE_ERROR * (2 * chance.next() - 1);
  const join = (termMs: number, after?: ReturnType<typeof any>) =>
    run.join({ rate: rate(), wallRate: rate(), termMs, ...(after === undefined ? {} : { after }) });
  const terms = chance.flip(0.3) ? [TERM_MS, TERM_MS / 2, TERM_MS * 1.5] : [TERM_MS, TERM_MS, TERM_MS];
  for (const termMs of terms) join(termMs);
  network.loss = chance.pick([0, 0.2, 0.8, 1]) ?? 0;
  network.slowMs = chance.pick([0, 0, 500, 1600]) ?? 0;

  const client = () => {
    const node = any();
    if (node !== undefined) run.verify(node, chance.pick(KEYS) ?? "", chance.flip(0.6) ? 1 : 2);
    world.later(chance.next() * 40, client);
  };
  world.later(30, client);

  for (let rivals = 0; rivals < 7; rivals++) {
    const keyId = chance.pick(KEYS) ?? "";
    const how: Narrowing = {
      way: chance.pick(["disable", "disable", "disable", "retire", "revoke"] as const) ?? "revoke",
      graceMs: chance.pick([0, 300, 1500, 2400]) ?? 0,
    };
    world.later(150 + chance.next() * lastsMs * 0.75, () => {
      const node = any();
      if (node !== undefined) run.narrow(node, keyId, how);
    });
    world.later(300 + chance.next() * lastsMs * 0.75, () => {
      const node = any();
      if (node !== undefined && how.way === "disable") run.enable(node, keyId);
    });
  }

  const happening = chance.pick(["none", "set clock", "change D", "fail over", "restore"] as const);
  // Of a machine whose wall clock is set back while it sleeps, no clock counts the sleep: the assumptions exclude it.
  const kinds = happening === "set clock" ? STRIKES.filter((kind) => kind !== "sleep") : STRIKES;
  for (let strikes = chance.below(4); strikes > 0; strikes--) {
    world.later(100 + chance.next() * (lastsMs - 500), () => {
      const node = any();
      if (node !== undefined) strike(run, node, kinds);
    });
  }
  const at = 200 + chance.next() * (lastsMs - 600);
  if (happening === "set clock") {
    for (let times = 0; times < 4; times++) {
      world.later(at * chance.next() + 100, () => any()?.machine.setWall((chance.next() - 0.5) * 7_200_000));
    }
  }
  if (happening === "change D") {
    const termMs = TERM_MS * (chance.pick([0.5, 1.5]) ?? 1);
    for (const [index, node] of [...run.nodes].entries()) {
      world.later(at * 0.6 + index * 150, () => {
        if (node.isServing && !node.machine.isDead) void node.exit();
        join(termMs, node);
      });
    }
  }
  if (happening === "fail over") world.later(at, () => failOver(run));
  if (happening === "restore") restore(run, 200 + chance.next() * (lastsMs - RESTORING_MS - 1200));
}

/** The primary that was is fenced; each node finds the new one when its connections have died. */
function failOver(run: Run): void {
  const { world, chance, network, database } = run;
  world.note("another primary is promoted");
  database.failOver();
  for (const { machine } of run.alive()) {
    network.cut(machine, DATABASE_LINKS);
    world.later(chance.next() * 1500, () => network.mend(machine));
  }
}

/** The database is lost, and comes back as it was some time before. */
function restore(run: Run, at: number): void {
  const { world, chance, network, database, promises } = run;
  let goBack: () => void = () => undefined;
  world.later(at * chance.next(), () => {
    goBack = database.backup();
  });
  world.later(at, () => {
    world.note("the database is lost");
    network.setDown(true);
    world.later(RESTORING_MS, () => {
      world.note("a backup is restored");
      promises.forget();
      goBack();
      network.setDown(false);
    });
  });
}
