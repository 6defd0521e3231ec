import type { ListNodesResponse } from "#gen/claviger/v1/node_pb.js";
import { listNodes, type NodeStatus } from "../manage/list-nodes.ts";
import { nodesToProto } from "../rpc/codec/nodes-to-proto.ts";
import type { ServerConfig } from "./config/config.ts";
import { openStorage } from "./open/open-storage.ts";

/** The registry of a database, to be read again and again. */
export interface OpenNodes {
  list(): Promise<NodeStatus[]>;
  close(): Promise<void>;
}

/** Opens the database itself, as a server does; StartupError says what to do. */
export async function openNodes(config: ServerConfig): Promise<OpenNodes> {
  const opened = await openStorage(config);
  return { list: () => listNodes(opened), close: () => opened.close() };
}

/** The server processes of this database, read from it without a server: agents are not known. */
export async function readNodes(config: ServerConfig): Promise<ListNodesResponse> {
  const nodes = await openNodes(config);
  try {
    return nodesToProto(await nodes.list(), { epoch: "", agents: [] });
  } finally {
    await nodes.close();
  }
}
