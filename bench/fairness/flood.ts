/**
 * One user's flood, in a process of its own: `flood.ts url token kind keyId`. Keeps as many calls in flight as its kind
 * says, until it is killed; a refused call is repeated after the time in `RetryInfo`, since a flood of refusals is a flood
 * of cheap calls, which `overload` measures. Says `flooding` once, and how calls end on SIGTERM.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { type Clients, connect } from "../../testkit/connect.ts";
import { FLOODS, type FloodName } from "./kinds.ts";

const CONNECTIONS = 4;
/** Another than the administrator's: the door is shared by address. */
const ADDRESS = "127.0.0.2";
/** The delay that the server asks for. */
const RETRY_MS = 1000;

const [, , url = "", token = "", kind = "", keyId = ""] = process.argv;
const { calls, send } = FLOODS[kind as FloodName];
const clients = Array.from({ length: CONNECTIONS }, () => connect(url, token, ADDRESS));
const ends: Record<string, number> = {};

async function goOn(client: Clients): Promise<never> {
  for (;;) {
    const end = await send(client, keyId).then(
      () => "ok",
      (error: unknown) => Code[ConnectError.from(error).code] ?? "unknown",
    );
    ends[end] = (ends[end] ?? 0) + 1;
    if (end === "Unavailable") await sleep(RETRY_MS);
  }
}

process.once("SIGTERM", () => {
  process.send?.(ends);
  process.exit();
});
for (let call = 0; call < calls; call++) void goOn(clients[call % CONNECTIONS] as Clients);
process.send?.("flooding");
