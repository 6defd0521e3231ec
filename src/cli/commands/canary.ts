import type { SecureClientSessionOptions } from "node:http2";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { type Command, InvalidArgumentError, Option } from "commander";
import { KeyManagement } from "#gen/claviger/v1/key_management_pb.js";
import { KeyVerifier, Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { messageOf } from "../../keys/errors.ts";
import { CANARY_OWNER } from "../../keys/owner.ts";
import type { Canary, CanaryRound } from "../../server/canary/canary.ts";
import { parseListenAddress } from "../../system/addresses.ts";
import { HOUR_MS } from "../../system/clocks.ts";
import { exitCodeOfCall } from "../call-error.ts";
import { CliError, EXIT } from "../cli-error.ts";
import { type Connection, withConnection } from "../connection.ts";
import { parseDuration } from "../input/duration.ts";
import { readToken } from "../input/read-secret.ts";
import { addExamples, addServerOptions, type ServerOptions } from "../input/server-options.ts";
import { DATABASE_SETTINGS, readConfig } from "../input/settings-options.ts";
import { noteLine, printLine, printText } from "../output/print.ts";
import { printable } from "../output/printable.ts";
import { type Shell, stopSignal } from "../shell.ts";

/** A key that no round could revoke, and no later one either, ends by itself. Longer than any round takes. */
const KEY_TTL_MS = HOUR_MS;

interface CanaryOptions extends ServerOptions {
  readonly node: readonly string[];
  readonly every: number;
  readonly rounds?: number;
  readonly owner: string;
  readonly metrics?: { readonly host: string; readonly port: number };
}

type Node = Pick<Connection, "management" | "verifier">;

/** The nodes to verify on, asked for before each round. */
interface NodeList {
  list(): Promise<readonly string[]>;
  close(): Promise<void>;
}

/** `claviger canary` */
export function addCanary(command: Command, shell: Shell): void {
  addServerOptions(command)
    .option(
      "--node <url>",
      "a node to verify on; repeat it for each (default: with DATABASE_URL every live node, else the server)",
      collect,
      [],
    )
    .addOption(
      new Option("--every <duration>", "pause between two rounds").argParser(parseDuration).default(10_000, "10s"),
    )
    .addOption(new Option("--rounds <number>", "end after so many (default: when told to stop)").argParser(parseRounds))
    .option("--owner <owner>", "whose keys they are", CANARY_OWNER)
    .addOption(new Option("--metrics <host:port>", "serve Prometheus metrics there").argParser(parseListen))
    .action((options: CanaryOptions) => {
      // Keys are made and revoked through the server that is named, or else through the first node.
      const named = options.url ?? (shell.environment.CLAVIGER_URL || undefined);
      const url = named ?? options.node[0];
      const target = url === undefined ? options : { ...options, url };
      return withConnection(shell, target, (connection) => run(shell, options, { connection, named }));
    });
  addExamples(
    command,
    "claviger canary --node http://10.0.0.1:4640 --node http://10.0.0.2:4640",
    "claviger canary --rounds 1 --json",
    "claviger canary --metrics 127.0.0.1:9464",
  ).addHelpText(
    "after",
    "\nExit codes: 0 all nodes obeyed, 1 a node accepted a revoked key,\n            4 with --rounds: some could not be asked",
  );
}

async function run(
  shell: Shell,
  options: CanaryOptions,
  server: { readonly connection: Connection; readonly named: string | undefined },
): Promise<void> {
  const { Canary } = await import("../../server/canary/canary.ts");
  const { monotonicMs } = await import("../../system/node.ts");
  const { acceptsAt } = await import("../../server/canary/process-name.ts");
  const stop = new AbortController();
  const hangUp = new AbortController();
  void stopSignal(shell).then(() => stop.abort());
  const own = server.named ?? "the server";
  const token = await readToken(shell.environment);
  const nodeAt = createNodes(token, options, hangUp.signal);
  const list = await openList(shell, options, own);
  const isOwn = (url: string) => url === own && options.node.length === 0;
  let management = server.connection.management;
  const canary = new Canary({
    async create() {
      const { owner } = options;
      const ttl = durationFromMs(KEY_TTL_MS);
      const { key, secret } = await management.createKey({
        owner,
        displayName: "canary",
        labels: { canary: "true" },
        ttl,
      });
      return { keyId: key?.id ?? "", secret };
    },
    revoke: async (keyId) => void (await management.revokeKey({ keyId })),
    async isAccepted(url, secret) {
      if (url.includes("#")) return acceptsAt(url, { token, secret, timeoutMs: options.timeout });
      const { verifier } = isOwn(url) ? server.connection : nodeAt(url);
      return (await verifier.verify({ secret })).verdict === Verdict.VALID;
    },
    monotonicMs,
  });
  const chooseNodes = async () => {
    const nodes = await list.list();
    const [first] = nodes;
    const [address] = first?.split("#") ?? [];
    if (server.named === undefined && address !== undefined && !isOwn(address)) management = nodeAt(address).management;
    return nodes;
  };
  let metrics: { close(): Promise<void> } | undefined;
  try {
    metrics = await serveMetrics(shell, options, canary);
    await repeat(options, stop.signal, async (round) => {
      try {
        report(shell, options, { round, found: await canary.round(chooseNodes()) });
      } catch (error) {
        // A refusal of the first round would repeat in every round.
        if (round === 1 && !isUndecided(error)) throw error;
        reportFailure(shell, options, { round, error });
      }
    });
  } finally {
    await canary.revokeLeft();
    await Promise.all([metrics?.close(), list.close()]);
    hangUp.abort();
  }
  if (canary.revokedButAccepted > 0) shell.exitCode = EXIT.denied;
  else if (canary.undecided > 0 && options.rounds !== undefined) shell.exitCode = EXIT.undecided;
}

async function repeat(
  { rounds, every }: CanaryOptions,
  signal: AbortSignal,
  work: (round: number) => Promise<void>,
): Promise<void> {
  const { setTimeout: sleep } = await import("node:timers/promises");
  for (let round = 1; !signal.aborted; round++) {
    await work(round);
    if (round === rounds) return;
    await sleep(every, undefined, { signal }).catch(() => undefined);
  }
}

function isUndecided(error: unknown): boolean {
  return error instanceof ConnectError && exitCodeOfCall(error) === EXIT.undecided;
}

async function serveMetrics(shell: Shell, { metrics }: CanaryOptions, canary: Canary) {
  if (metrics === undefined) return undefined;
  const { serveCanaryMetrics } = await import("../../server/observe/metrics.ts");
  const served = await serveCanaryMetrics(metrics, () => canary);
  noteLine(shell, `metrics at ${served.url}`);
  return served;
}

async function openList(shell: Shell, options: CanaryOptions, own: string): Promise<NodeList> {
  const close = async () => undefined;
  if (options.node.length > 0) return { list: async () => [...new Set(options.node)], close };
  const { DATABASE_URL = "", DATABASE_URL_FILE = "" } = shell.environment;
  if (`${DATABASE_URL}${DATABASE_URL_FILE}`.trim() === "") return { list: async () => [own], close };
  const config = await readConfig(shell, {}, DATABASE_SETTINGS);
  const { openNodes } = await import("../../server/operator.ts");
  const { nameProcesses } = await import("../../server/canary/process-name.ts");
  const nodes = await openNodes(config);
  return {
    async list() {
      const live = (await nodes.list()).filter(({ state }) => state === "live");
      if (live.length === 0) throw noneLive();
      return nameProcesses(live);
    },
    close: () => nodes.close(),
  };
}

function noneLive(): CliError {
  const message = "the database knows of no live node: start one, or name one by --node";
  return new CliError({ message, exitCode: EXIT.undecided, code: "UNAVAILABLE" });
}

/** Clients of the nodes, one connection each, with the caller's credential. */
function createNodes(
  token: string | undefined,
  { timeout }: CanaryOptions,
  signal: AbortSignal,
): (url: string) => Node {
  const nodes = new Map<string, Node>();
  return (url) => {
    const known = nodes.get(url);
    if (known !== undefined) return known;
    const nodeOptions: SecureClientSessionOptions & { signal: AbortSignal } = { signal };
    const transport = createGrpcTransport({
      ...{ baseUrl: url, nodeOptions, defaultTimeoutMs: timeout },
      interceptors: [
        (next) => (request) => {
          if (token !== undefined) request.header.set("authorization", `Bearer ${token}`);
          return next(request);
        },
      ],
    });
    const node = { management: createClient(KeyManagement, transport), verifier: createClient(KeyVerifier, transport) };
    nodes.set(url, node);
    return node;
  };
}

function report(
  shell: Shell,
  { json }: CanaryOptions,
  { round, found }: { readonly round: number; readonly found: CanaryRound },
): void {
  const { nodes, createMs, verifyMs, revokeMs, reached, stillAccepting, undecided, failures } = found;
  if (json) {
    const [create, verify, revoke] = [createMs, verifyMs, revokeMs].map(Math.round);
    const spans = { createMs: create, verifyMs: verify, revokeMs: revoke };
    const line = { round, ...spans, nodes, reached, revokedButAccepted: stillAccepting, undecided };
    printLine(shell, JSON.stringify(line));
    return;
  }
  const problems = [
    ...stillAccepting.map((node) => `REVOKED BUT ACCEPTED by ${node}`),
    ...undecided.map((node) =>
      failures.has(node)
        ? `${node} could not be asked (${messageOf(failures.get(node))})`
        : `${node} did not accept the key before it was revoked`,
    ),
  ];
  const spans = `created in ${Math.round(createMs)} ms, verified on ${reached.length} of ${nodes.length} nodes in ${Math.round(verifyMs)} ms, revoked in ${Math.round(revokeMs)} ms`;
  printText(shell, printable(`${spans}: ${problems.join(", ") || "every node obeys"}`));
}

function reportFailure(
  shell: Shell,
  { json }: CanaryOptions,
  { round, error }: { readonly round: number; readonly error: unknown },
): void {
  if (json) printLine(shell, JSON.stringify({ round, error: messageOf(error) }));
  else noteLine(shell, printable(`round ${round} could not be made: ${messageOf(error)}`));
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

function parseListen(text: string): { readonly host: string; readonly port: number } {
  const address = parseListenAddress(text);
  if (address !== undefined) return address;
  throw new InvalidArgumentError("Give host:port");
}
