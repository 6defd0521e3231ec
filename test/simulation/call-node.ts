import type { VerifyRequest } from "#gen/claviger/v1/key_verifier_pb.js";
import { toResponse } from "../../src/rpc/codec/encode-verification.ts";
import { toCommand } from "../../src/rpc/key-verifier.ts";
import type { Verification } from "../../src/sdk/verification.ts";
import { couldNotDecide, fromResponse } from "../../src/sdk/verifier/wire.ts";
import type { Chance } from "../../testkit/chance.ts";
import type { Machine } from "./machine.ts";
import { TIMEOUT_MS } from "./network.ts";
import type { SimNode } from "./sim-node.ts";
import type { World } from "./world.ts";

export interface Calling {
  readonly world: World;
  readonly chance: Chance;
  readonly from: Machine;
  readonly node: SimNode | undefined;
}

/** `Verify` by a call of its own. */
export function callNode({ world, chance, from, node }: Calling, request: VerifyRequest): Promise<Verification> {
  const { promise, resolve, reject } = Promise.withResolvers<Verification>();
  const late = from.after(TIMEOUT_MS, () => reject(couldNotDecide("STORAGE_UNAVAILABLE", "no answer")));
  const arrive = (machine: Machine, work: () => void) =>
    world.later(0.3 + chance.next() * 3, () => machine.receive(work));
  if (node === undefined) return promise;
  const serve = async () => {
    if (!node.isServing) return;
    const metered = await node.streams.metered.verify(toCommand(request), { callerId: "", lane: "fast" });
    arrive(from, () => {
      late.cancel();
      resolve(fromResponse(toResponse(metered)));
    });
  };
  arrive(node.machine, () => void serve().catch(() => undefined));
  return promise;
}
