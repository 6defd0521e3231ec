import type { FoundSecret } from "../../src/keys/cached-secret.ts";
import { describeFound } from "../../src/rpc/describe-found.ts";

/** As the server does it, but once for each secret: what is told beside the verdict is not judged here, and costs time. */
export function createDescribe(): (found: FoundSecret) => string {
  const known = new Map<string, string>();
  return (found) => {
    const name = `${found.key.id}#${found.secret.version}`;
    const description = known.get(name) ?? describeFound(found);
    known.set(name, description);
    return description;
  };
}
