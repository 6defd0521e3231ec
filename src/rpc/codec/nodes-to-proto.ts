import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type ListNodesResponse, ListNodesResponseSchema, NodeState } from "#gen/claviger/v1/node_pb.js";
import type { NodeStatus } from "../../manage/list-nodes.ts";
import type { Agent } from "../../revocation/child-lease.ts";

const STATES = { live: NodeState.LIVE, silent: NodeState.SILENT, collected: NodeState.COLLECTED } as const;

/** Agents that one answer names: an answer stays below 1 MiB. */
const MOST_AGENTS = 1000;

/** An agent that is attached to this process. */
export interface AgentStatus extends Agent {
  readonly attachedMs: number;
  readonly isLeased: boolean;
  readonly pendingChanges: number;
}

/** The process that answers, and the agents attached to it. */
export interface Answering {
  readonly epoch: string;
  readonly agents: readonly AgentStatus[];
}

export function nodesToProto(nodes: readonly NodeStatus[], { epoch, agents }: Answering): ListNodesResponse {
  return create(ListNodesResponseSchema, {
    nodes: nodes.map(({ termMs, silentMs, state, lagRevisions, ...node }) => ({
      ...node,
      state: STATES[state],
      term: durationFromMs(termMs),
      silence: durationFromMs(silentMs),
      lagRevisions: BigInt(lagRevisions),
    })),
    epoch,
    agents: agents.slice(0, MOST_AGENTS).map(({ attachedMs, isLeased, ...agent }) => ({
      ...agent,
      attached: durationFromMs(attachedMs),
      leased: isLeased,
    })),
    agentCount: agents.length,
  });
}
