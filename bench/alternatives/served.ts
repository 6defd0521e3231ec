import { Agent, request } from "node:http";
import { fileURLToPath } from "node:url";
import { eventually } from "../../testkit/eventually.ts";
import { endWithin, spawnGuarded } from "../../testkit/guarded-process.ts";

const PROGRAM = fileURLToPath(new URL("./program.ts", import.meta.url));
const STOP_MS = 5000;

/** A contestant in a process of its own. */
export interface Served {
  readonly pid: number;
  /** Asks one of program.ts's routes. Throws on anything but 200. */
  ask<Value>(path: string): Promise<Value>;
  /** Over HTTP, on a connection that is kept. */
  verify(secret: string): Promise<boolean>;
  kill(): Promise<void>;
  stop(): Promise<void>;
}

export async function serveContestant(name: string, env: Readonly<Record<string, string>>): Promise<Served> {
  const server = await spawnGuarded({
    ...{ command: process.execPath, args: [PROGRAM, name] },
    spawn: { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, ...env } },
  });
  let output = "";
  server.child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  const url = await eventually(() => addressIn(output), {
    withinMs: 30_000,
    abandonIf: () => (server.hasExited() ? new Error(`${name} ended before it listened`) : undefined),
  });
  const agent = new Agent({ keepAlive: true, maxSockets: 2000, maxFreeSockets: 2000 });
  const ask = <Value>(path: string, headers = {}) => fetchJson<Value>(agent, `${url}/${path}`, headers);
  const stop = async (signal: "SIGTERM" | "SIGKILL") => {
    server.child.kill(signal);
    await endWithin(server, STOP_MS);
    agent.destroy();
  };
  return {
    ...{ pid: server.pid, ask },
    verify: async (secret) => (await ask<{ readonly valid: boolean }>("verify", { "x-api-key": secret })).valid,
    kill: () => stop("SIGKILL"),
    stop: () => stop("SIGTERM"),
  };
}

function addressIn(output: string): string {
  const [, url] = /listening on (http:\S+)/.exec(output) ?? [];
  if (url === undefined) throw new Error("it does not listen yet");
  return url;
}

function fetchJson<Value>(agent: Agent, url: string, headers: Readonly<Record<string, string>>): Promise<Value> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { agent, headers, method: "POST" }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => {
        text += part;
      });
      response.on("error", reject);
      response.on("end", () =>
        response.statusCode === 200 ? resolve(JSON.parse(text)) : reject(new Error(`${url} answers ${text}`)),
      );
    });
    sent.on("error", reject);
    sent.end();
  });
}
