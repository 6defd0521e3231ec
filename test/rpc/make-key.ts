import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CreateKeyRequestSchema } from "#gen/claviger/v1/key_management_pb.js";
import type { Key } from "#gen/claviger/v1/key_pb.js";
import type { Clients } from "../../testkit/claviger.ts";

export interface MadeKey {
  readonly id: string;
  readonly secret: string;
  /** As it was when it was made. */
  readonly key: Key;
}

/** A key of that form which nobody has. */
export const UNKNOWN_KEY_ID = "key_01h455vb4pex5vsknk084sn02q";

/** Creates a key by that caller, called `k` unless said otherwise. */
export async function makeKey(
  clients: Clients,
  request: MessageInitShape<typeof CreateKeyRequestSchema> & { readonly owner: string },
): Promise<MadeKey> {
  const { key, secret } = await clients.keys.createKey({ displayName: "k", ...request });
  if (key === undefined) throw new Error("CreateKey answered without a key");
  return { id: key.id, secret, key };
}
