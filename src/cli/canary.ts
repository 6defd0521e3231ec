import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { type Command, InvalidArgumentError, Option } from "commander";
import { KeyVerifier, Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { type Connection, withConnection } from "./connection.ts";
import { parseDuration } from "./duration.ts";
import { addExamples } from "./examples.ts";
import { EXIT } from "./exit-code.ts";
import { noteLine, printLine } from "./print.ts";
import { readToken } from "./read-token.ts";
import { addServerOptions, type ServerOptions } from "./server-options.ts";
import type { Shell } from "./shell.ts";
import { stopSignal } from "./stop-signal.ts";

interface CanaryOptions extends ServerOptions {
  readonly node: readonly string[];
  readonly every: number;
  readonly rounds?: number;
  readonly owner: string;
}

/** `claviger canary` */
export function addCanary(parent: Command, shell: Shell): void {
  const command = addServerOptions(parent.command("canary"))
    .description("try the promise again and again: create a key, verify it on every node, revoke it, verify it again")
    .option("--node <url>", "a node to verify on; repeat it for each (default: the server)", collect, [])
    .addOption(
      new Option("--every <duration>", "pause between two rounds").argParser(parseDuration).default(10_000, "10s"),
    )
    .addOption(new Option("--rounds <number>", "end after so many (default: when told to stop)").argParser(parseRounds))
    .option("--owner <owner>", "whose keys they are", "claviger-canary")
    .action((options: CanaryOptions) =>
      withConnection(shell, options, (connection) => run(shell, options, connection)),
    );
  addExamples(
    command,
    "claviger canary --node http://10.0.0.1:4640 --node http://10.0.0.2:4640",
    "claviger canary --rounds 1 --json",
  ).addHelpText(
    "after",
    "\nExit codes: 0 all nodes obeyed, 1 a node accepted a revoked key, 4 some could not be asked",
  );
}

async function run(shell: Shell, options: CanaryOptions, { management, verifier }: Connection): Promise<void> {
  const { Canary } = await import("../server/canary.ts");
  const { monotonicMs } = await import("../server/clock.ts");
  const stop = new AbortController();
  stopSignal(shell).then(() => stop.abort());
  const verifiers = await connectAll(shell, options.node);
  const own = options.url ?? shell.environment.CLAVIGER_URL ?? "the server";
  if (verifiers.size === 0) verifiers.set(own, verifier);
  const canary = new Canary({
    async create() {
      const { key, secret } = await management.createKey({ owner: options.owner, displayName: "canary" });
      return { keyId: key?.id ?? "", secret };
    },
    revoke: async (keyId) => void (await management.revokeKey({ keyId })),
    async isAccepted(node, secret) {
      const answer = await verifiers.get(node)?.verify({ secret }, { timeoutMs: options.timeout });
      if (answer === undefined) throw new Error(`there is no node ${node}`);
      return answer.verdict === Verdict.VALID;
    },
    monotonicMs,
  });
  let failed = 0;
  for (let round = 1; !stop.signal.aborted; round++) {
    try {
      report(shell, options, await canary.round([...verifiers.keys()]));
    } catch (error) {
      if (!(error instanceof ConnectError) || error.code === Code.PermissionDenied) throw error;
      failed += 1;
      noteLine(shell, `round ${round} could not be made: ${error.message}`);
    }
    if (round === options.rounds) break;
    await pause(options.every, stop.signal);
  }
  if (canary.revokedButAccepted > 0) shell.exitCode = EXIT.denied;
  else if (failed + canary.undecided > 0) shell.exitCode = EXIT.undecided;
}

function report(
  shell: Shell,
  { json }: CanaryOptions,
  round: Awaited<ReturnType<import("../server/canary.ts").Canary["round"]>>,
): void {
  if (json) {
    const { createMs, revokeMs, stillAccepting, undecided } = round;
    const line = { create_ms: createMs, revoke_ms: revokeMs, revoked_but_accepted: stillAccepting, undecided };
    printLine(shell, JSON.stringify(line));
    return;
  }
  const problems = [
    ...round.stillAccepting.map((node) => `REVOKED BUT ACCEPTED by ${node}`),
    ...round.undecided.map((node) => `${node} could not be asked`),
  ];
  printLine(shell, `revoked in ${Math.round(round.revokeMs)} ms: ${problems.join(", ") || "every node obeys"}`);
}

async function connectAll(shell: Shell, urls: readonly string[]) {
  const token = await readToken(shell.environment);
  const entries = urls.map((url) => {
    const transport = createGrpcTransport({
      baseUrl: url,
      interceptors: [
        (next) => (request) => {
          if (token !== undefined) request.header.set("authorization", `Bearer ${token}`);
          return next(request);
        },
      ],
    });
    return [url, createClient(KeyVerifier, transport)] as const;
  });
  return new Map(entries);
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  const { setTimeout: sleep } = await import("node:timers/promises");
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}

function collect(url: string, urls: readonly string[]): string[] {
  if (!/^https?:\/\/[^/@]+$/.test(url)) throw new InvalidArgumentError("Give it as http://host:port");
  return [...urls, url];
}

function parseRounds(text: string): number {
  const rounds = Number(text);
  if (!Number.isSafeInteger(rounds) || rounds < 1) throw new InvalidArgumentError("Give a whole number from 1");
  return rounds;
}
