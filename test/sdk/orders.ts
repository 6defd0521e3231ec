import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { createFileRegistry, type DescService, fromBinary } from "@bufbuild/protobuf";
import type { GenService } from "@bufbuild/protobuf/codegenv2";
import { FileDescriptorSetSchema, type StringValueSchema } from "@bufbuild/protobuf/wkt";
import { REPOSITORY } from "../../testkit/repository-copy.ts";

/** What `proto/` here imports is in `../../proto`; a module of its own keeps it out of what is generated and released. */
const MODULES = {
  version: "v2",
  modules: [{ path: "proto", excludes: ["proto/vendor"] }, { path: "proto/vendor" }, { path: "test/sdk/proto" }],
};

type Text<Kind extends "unary" | "server_streaming" | "client_streaming" | "bidi_streaming"> = {
  readonly input: typeof StringValueSchema;
  readonly output: typeof StringValueSchema;
  readonly methodKind: Kind;
};

/** `claviger.test.v1.Orders` */
export type OrdersService = GenService<{
  ping: Text<"unary">;
  write: Text<"unary">;
  browse: Text<"unary">;
  watch: Text<"server_streaming">;
  import: Text<"client_streaming">;
  chat: Text<"bidi_streaming">;
}>;

/** Everything in the proto files, read by Buf as it stands: nothing generated can lag behind. */
export function loadProtos() {
  const buf = join(REPOSITORY, "node_modules/.bin/buf");
  const image = execFileSync(buf, ["build", "--config", JSON.stringify(MODULES), "-o", "-"], {
    cwd: REPOSITORY,
    maxBuffer: 16 * 1024 * 1024,
  });
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, image));
  const find = (name: string): DescService => {
    const service = registry.getService(`claviger.test.v1.${name}`);
    if (service === undefined) throw new Error(`test/sdk/proto has no ${name}; correct the test`);
    return service;
  };
  return { registry, orders: find("Orders") as unknown as OrdersService, contradictory: find("Contradictory") };
}
