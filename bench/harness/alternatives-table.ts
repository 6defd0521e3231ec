import { readFileSync } from "node:fs";

const RESULT = new URL("../results/alternatives.json", import.meta.url);

/** Contestants with the names that the page shows. */
const CONTESTANTS = [
  ["claviger", "Claviger"],
  ["better-auth-postgres", "better-auth on Postgres"],
  ["better-auth-redis", "better-auth on Redis"],
  ["better-auth-redis-deferred", "… with `deferUpdates`"],
  ["better-auth-redis-over-postgres", "… with `fallbackToDatabase`"],
  ["by-hand-hgetall", "by hand: `HGETALL` in Redis"],
  ["by-hand-select", "by hand: a `SELECT` in Postgres"],
] as const;

interface Removal {
  readonly keysAcceptedLater: number;
  readonly ofKeys: number;
}

interface Figures {
  readonly speed: Readonly<Record<string, { readonly cpuMicroseconds: number }>>;
  readonly afterDeleteOrDisable: Readonly<Record<string, { readonly delete: Removal; readonly disable: Removal }>>;
  readonly quota: Readonly<Record<string, { readonly granted: number }>>;
  readonly killMinus9: Readonly<
    Record<string, { readonly atOnce32: { readonly killed: { readonly granted: number; readonly lost: number } } }>
  >;
}

/** The table of alternatives, from the committed result. */
export function alternativesTable(): string {
  const { figures }: { readonly figures: Figures } = JSON.parse(readFileSync(RESULT, "utf8"));
  const head = [
    "| | server CPU, behind a server / in process | keys still accepted after delete / disable | of a quota of 5,000 | uses that a kill -9 loses |",
    "|---|---|---|---|---|",
  ];
  return [...head, ...CONTESTANTS.map(([id, name]) => `| ${name} | ${rowOf(figures, id)} |`)].join("\n");
}

function rowOf(figures: Figures, id: string): string {
  const cpu = (way: string) => {
    const measured = figures.speed[`${id}, ${way}`]?.cpuMicroseconds;
    return measured === undefined ? "–" : `${Math.round(measured)} µs`;
  };
  const removal = figures.afterDeleteOrDisable[id];
  const quota = figures.quota[id];
  const killed = figures.killMinus9[id]?.atOnce32.killed;
  return [
    `${id === "claviger" ? cpu("gRPC") : cpu("node:http")} / ${cpu("in process")}`,
    removal === undefined
      ? "–"
      : `${removal.delete.keysAcceptedLater} / ${removal.disable.keysAcceptedLater} of ${removal.delete.ofKeys}`,
    quota === undefined ? "–" : String(quota.granted),
    killed === undefined ? "–" : `${Math.max(0, killed.lost)} of ${killed.granted}`,
  ].join(" | ");
}
