import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { spawnGuarded } from "../../testkit/guarded-process.ts";
import type { Damage } from "./attack.ts";
import type { KindName } from "./kinds.ts";

const ABUSER = fileURLToPath(new URL("./abuser.ts", import.meta.url));

export interface AbuserOptions {
  readonly url: string;
  readonly kind: KindName;
  /** Milliseconds from being cut off to coming back. Default: it does not. */
  readonly comesBackAfterMs?: number;
}

export interface Abuser {
  readonly pid: number;
  /** So far. The first question begins it. */
  damage(): Promise<Damage>;
  stop(): Promise<void>;
}

/** One in a process of its own, which does not outlive this one. */
export async function startAbuser({ url, kind, comesBackAfterMs }: AbuserOptions): Promise<Abuser> {
  const { child, pid, exited } = await spawnGuarded({
    command: process.execPath,
    args: [ABUSER, url, kind, String(comesBackAfterMs ?? "")],
    spawn: { stdio: ["pipe", "pipe", "inherit"] },
  });
  if (child.stdin === null || child.stdout === null) throw new Error("the abuser has no input and output");
  const { stdin, stdout } = child;
  const lines = createInterface({ input: stdout });
  await once(lines, "line");
  return {
    pid,
    async damage() {
      stdin.write("\n");
      const [line] = await once(lines, "line");
      return JSON.parse(line);
    },
    async stop() {
      stdin.end();
      await exited;
    },
  };
}
