import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import {
  type ListNodesResponse,
  ListNodesResponseSchema,
  type Node,
  NodeStateSchema,
} from "#gen/claviger/v1/node_pb.js";
import { withConnection } from "../connection.ts";
import { roundSpan } from "../input/duration.ts";
import { enumName } from "../input/enum-names.ts";
import { type WideOption, wideOption, widthFor } from "../input/list-options.ts";
import { addExamples, addServerOptions, type ServerOptions } from "../input/server-options.ts";
import { DATABASE_SETTINGS, readConfig } from "../input/settings-options.ts";
import { noteLine, printLine, printMessage } from "../output/print.ts";
import { type Column, formatList } from "../output/table.ts";
import type { Shell } from "../shell.ts";

interface NodesOptions extends ServerOptions, WideOption {
  readonly direct?: true;
}

/** `claviger nodes` */
export function addNodes(command: Command, shell: Shell): void {
  addServerOptions(command)
    .option("--direct", "read the database itself, by DATABASE_URL and CLAVIGER_ROOT_SECRETS, while no server answers")
    .addOption(wideOption())
    .action(async (options: NodesOptions) => {
      if (options.direct) {
        const config = await readConfig(shell, {}, DATABASE_SETTINGS);
        const { readNodes } = await import("../../server/operator.ts");
        return printNodes(shell, await readNodes(config), options);
      }
      await withConnection(shell, options, async ({ management }) => {
        printNodes(shell, await management.listNodes({}), options);
      });
    });
  addExamples(command, "claviger nodes", "DATABASE_URL=postgres://… claviger nodes --direct").addHelpText(
    "after",
    "\nNeeds claviger:nodes.read.\nA node that is silent delays revocations until it is given up.",
  );
}

function printNodes(shell: Shell, response: ListNodesResponse, options: NodesOptions): void {
  if (options.json) printMessage(shell, ListNodesResponseSchema, response);
  else if (response.nodes.length === 0) noteLine(shell, "no node is registered");
  else printLine(shell, formatList(response.nodes, COLUMNS, widthFor(shell, options)));
}

const COLUMNS: readonly Column<Node>[] = [
  { title: "ADDRESS", cell: ({ address }) => address },
  { title: "LEASE", cell: ({ state }) => enumName(NodeStateSchema, state) },
  { title: "TERM", cell: ({ term }) => (term ? roundSpan(durationMs(term)) : "–"), dispensable: 2 },
  { title: "RENEWED", cell: ({ silence }) => (silence ? `${roundSpan(durationMs(silence))} ago` : "–") },
  { title: "LAG", cell: ({ lagRevisions }) => String(lagRevisions) },
  { title: "EPOCH", cell: ({ epoch }) => epoch.slice(0, 8), dispensable: 1 },
];
