import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import { type Agent, type ListNodesResponse, ListNodesResponseSchema, NodeState } from "#gen/claviger/v1/node_pb.js";
import { withConnection } from "../connection.ts";
import { roundSpan } from "../input/duration.ts";
import { type WideOption, wideOption, widthFor } from "../input/list-options.ts";
import { addExamples, addServerOptions, type ServerOptions } from "../input/server-options.ts";
import { noteLine, printLine, printMessage } from "../output/print.ts";
import { type Column, formatList } from "../output/table.ts";
import type { Shell } from "../shell.ts";

type AgentsOptions = ServerOptions & WideOption;

/** `claviger agents` */
export function addAgents(command: Command, shell: Shell): void {
  addServerOptions(command)
    .addOption(wideOption())
    .action((options: AgentsOptions) =>
      withConnection(shell, options, async ({ management }) => {
        const response = await management.listNodes({});
        if (options.json) printMessage(shell, ListNodesResponseSchema, response);
        else printAgents(shell, response, options);
      }),
    );
  addExamples(command, "claviger agents", "claviger agents --url http://10.0.0.2:4640").addHelpText(
    "after",
    "\nNeeds claviger:nodes.read.\nEach process lists its own agents, at most 1,000; `claviger nodes` lists the\nprocesses. Ask each of them with --url.",
  );
}

function printAgents(
  shell: Shell,
  { agents, agentCount, nodes, epoch }: ListNodesResponse,
  options: AgentsOptions,
): void {
  const self = nodes.find((node) => node.epoch === epoch);
  const where = `${self?.address ?? "this process"} (epoch ${epoch.slice(0, 8)})`;
  if (agents.length === 0) {
    noteLine(shell, `no agent is attached to ${where}`);
  } else {
    printLine(shell, formatList(agents, COLUMNS, widthFor(shell, options)));
    const rest = agentCount > agents.length ? `, of which these are the first ${agents.length}` : "";
    noteLine(shell, `${agentCount} attached to ${where}${rest}`);
  }
  const live = nodes.filter((node) => node.state === NodeState.LIVE && node.epoch !== epoch);
  const beside = live.filter(({ address }) => address === self?.address).length;
  const others = [
    ...(live.length > beside ? [`${processesServe(live.length - beside)}: ask each with --url`] : []),
    // Workers share a port, and the kernel chooses which of them gets a connection.
    ...(beside > 0 ? [`${processesServe(beside)} at this address: call again to reach another`] : []),
  ];
  if (others.length > 0) noteLine(shell, `agents of this process only; ${others.join("; ")}`);
}

function processesServe(count: number): string {
  return count === 1 ? "1 more process serves" : `${count} more processes serve`;
}

const COLUMNS: readonly Column<Agent>[] = [
  { title: "KEY ID", cell: ({ keyId }) => keyId || "–" },
  { title: "OWNER", cell: ({ owner }) => owner, least: 8 },
  { title: "ADDRESS", cell: ({ address }) => address },
  { title: "ATTACHED", cell: ({ attached }) => (attached ? roundSpan(durationMs(attached)) : "–"), dispensable: 1 },
  { title: "LEASE", cell: ({ leased }) => (leased ? "held" : "none") },
  { title: "PENDING", cell: ({ pendingChanges }) => String(pendingChanges) },
];
