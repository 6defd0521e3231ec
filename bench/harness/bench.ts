import { execFileSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { cpus } from "node:os";

/** One question about speed, with the answer that is wanted. */
export interface Bench {
  /** The name of the bench, which is that of its file: `cold-verify`. */
  readonly id: string;
  readonly question: string;
  /** The reference of `ratio`. */
  readonly reference: string;
  /** The most that `ratio` should be. */
  readonly goal: number;
  run(): Promise<Answer>;
}

export interface Answer {
  readonly ratio: number;
  /** The measured values, for people. */
  readonly figures: Readonly<Record<string, unknown>>;
}

/** Runs it and keeps the answer in `results/`. */
export async function answer({ id, question, reference, goal, run }: Bench): Promise<void> {
  const { ratio, figures } = await run();
  const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
  const machine = `${cpus().length} × ${cpus()[0]?.model.trim()}`;
  const about = { id, question, reference, ratio: rounded(ratio, 3), goal, isReached: ratio <= goal };
  const result = { ...about, figures, commit, node: process.version, machine, date: new Date().toISOString() };
  const text = `${JSON.stringify(result, null, 2)}\n`;
  await writeFile(new URL(`../results/${id}.json`, import.meta.url), text);
  console.log(text);
}

export function rounded(value: number, digits = 2): number {
  return Math.round(value * 10 ** digits) / 10 ** digits;
}

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

/** The distribution of milliseconds. */
export function spread(values: readonly number[]) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => rounded(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);
  return { median: at(0.5), p90: at(0.9), p99: at(0.99), longest: at(1) };
}
