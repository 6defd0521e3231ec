import { fileURLToPath } from "node:url";
import { type GuardedProcess, spawnGuarded } from "../../testkit/guarded-process.ts";
import { type Mutation, mutate } from "../../testkit/mutation.ts";
import { inheritedEnv } from "../../testkit/server-process.ts";
import { createTcpProxy, type TcpProxy } from "../../testkit/tcp-proxy.ts";
import { noteUnheard } from "../../testkit/unheard.ts";
import type { Cluster } from "./cluster.ts";
import { hostMs } from "./host-clock.ts";

const PROGRAM = fileURLToPath(new URL("counting-program.ts", import.meta.url));

/**
 * What an agent says: `memory`: it answered by itself; `question`: it asks; `call`: for that it makes a call, the
 * stream having failed it, or the call before; `answer`, `failure`: what came of the question.
 */
export type Counted = "memory" | "question" | "call" | "answer" | "failure";

export interface CountingSettings {
  readonly urls: readonly string[];
  readonly token: string;
  /** The secret of a key without limits, and of one with, which is asked about each time. */
  readonly free: string;
  readonly limited: string;
  readonly reportEveryMs: number;
}

export interface CountingOptions extends Omit<CountingSettings, "urls" | "token"> {
  readonly mutate?: readonly Mutation[] | undefined;
}

/** A process with a verifier of the SDK, and its own tally. */
export class CountingAgent {
  readonly links: readonly TcpProxy[];
  readonly counts: Record<Counted, number> = { memory: 0, question: 0, call: 0, answer: 0, failure: 0 };
  readonly #process: GuardedProcess;
  readonly #memory: { readonly at: number; readonly count: number }[] = [];
  #rest = "";
  #errors = "";
  /** When it was killed. */
  #endedAt: number | undefined;

  private constructor(process: GuardedProcess, links: readonly TcpProxy[]) {
    this.#process = process;
    this.links = links;
    process.child.stdout?.setEncoding("utf8").on("data", (text: string) => this.#hear(text));
    process.child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#errors += text;
    });
  }

  static async start({ nodes, token }: Cluster, { mutate: mutations, ...options }: CountingOptions) {
    const links = await Promise.all(nodes.map(({ url }) => createTcpProxy({ port: Number(new URL(url).port) })));
    const settings: CountingSettings = { ...options, token, urls: links.map(({ port }) => `http://127.0.0.1:${port}`) };
    const mutated = mutations === undefined ? undefined : mutate(...mutations);
    const env = { ...inheritedEnv(), ...mutated, ...noteUnheard(mutated?.NODE_OPTIONS) };
    const stdio: ("ignore" | "pipe" | "ipc")[] = ["ignore", "pipe", "pipe", "ipc"];
    const args = [PROGRAM, JSON.stringify(settings)];
    return new CountingAgent(await spawnGuarded({ command: process.execPath, args, spawn: { stdio, env } }), links);
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.child.kill(signal);
  }

  /** With SIGKILL, if it is there yet; its tally is complete then. */
  async kill(): Promise<void> {
    this.#endedAt ??= hostMs();
    this.signal("SIGKILL");
    await this.#process.exited;
    await Promise.all(this.links.map((link) => link.close()));
  }

  /** By `close()` of its verifier, while it goes on verifying. Throws what it says if it ends in another way. */
  async close(): Promise<void> {
    this.#process.child.send({ close: true });
    const { code, signal } = await this.#process.exited;
    await Promise.all(this.links.map((link) => link.close()));
    if (code !== 0) throw new Error(`the agent ended with ${code ?? signal}: ${this.#errors}`);
  }

  /** Verdicts that it has answered from memory in the last milliseconds before it was killed. */
  heldWhenKilled(ms: number): number {
    const from = (this.#endedAt ?? Number.POSITIVE_INFINITY) - ms;
    return this.#memory.filter(({ at }) => at >= from).reduce((sum, { count }) => sum + count, 0);
  }

  /** Verdicts that it knows of. */
  get known(): number {
    return this.counts.memory + this.counts.answer;
  }

  /** Answers that a server may have counted and that never came: of a question on its stream, and of every call. */
  get mostLost(): number {
    const { question, answer, call } = this.counts;
    return question - answer + call;
  }

  #hear(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      const [what, count = "0", at] = line.split(" ");
      this.counts[what as Counted] += Number(count);
      if (what === "memory") this.#memory.push({ at: Number(at), count: Number(count) });
    }
  }
}
