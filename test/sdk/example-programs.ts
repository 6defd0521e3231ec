import { connect } from "node:http2";
import { text } from "node:stream/consumers";

/** Calls `Ask` in JSON, by the protocol of Connect. */
export async function post(address: string, secret: string, body: object): Promise<{ answer?: string; code?: string }> {
  const session = connect(`http://${address}`);
  try {
    const headers = { "content-type": "application/json", authorization: `Bearer ${secret}` };
    const stream = session.request({ ":method": "POST", ":path": "/example.v1.Agent/Ask", ...headers });
    stream.end(JSON.stringify(body));
    return JSON.parse(await text(stream));
  } finally {
    session.close();
  }
}

/** What a client says before and after its key is revoked, line by line and `plainly`. */
export function expected(owner: string) {
  const revoked = "unauthenticated CREDENTIAL_INVALID REVOKED";
  const missing = "Ask: unauthenticated CREDENTIAL_MISSING";
  const answered = `Ask: ${owner} asks: why?`;
  return [
    [answered, "Teach: permissiondenied PERMISSION_DENIED SCOPE_MISSING", missing],
    [`Ask: ${revoked}`, `Teach: ${revoked}`, missing],
  ];
}

/** The lines, whatever a language calls its codes and prints its answers like. */
export function plainly(said: string[][]): string[][] {
  return said.map((lines) =>
    lines.map((line) =>
      line
        .replace(/answer: *"(.*)"/, "$1")
        .replace(/(?<=^\w+: )(UNAUTHENTICATED|PERMISSION_DENIED|Unauthenticated|PermissionDenied)/, (code) =>
          code.replace("_", "").toLowerCase(),
        )
        .trim(),
    ),
  );
}
