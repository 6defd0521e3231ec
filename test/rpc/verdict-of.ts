import type { MessageInitShape } from "@bufbuild/protobuf";
import { Verdict, type VerifyRequestSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { nameOf } from "../../src/rpc/codec/from-proto.ts";
import type { Clients } from "../../testkit/claviger.ts";

/** The name of the verdict about a secret: `VALID`. */
export async function verdictOf(
  { verifier }: Clients,
  secret: string,
  question: MessageInitShape<typeof VerifyRequestSchema> = {},
): Promise<string | undefined> {
  return nameOf(Verdict, (await verifier.verify({ ...question, secret })).verdict);
}
