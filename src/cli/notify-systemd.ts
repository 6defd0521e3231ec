import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { messageOf } from "../keys/errors.ts";
import { warnLine } from "./output/print.ts";
import type { Shell } from "./shell.ts";

const NOTIFY_MS = 10_000;

/**
 * Tells systemd that the server listens, where a unit of `Type=notify` started it. Node has no datagram sockets of Unix,
 * so that `systemd-notify` sends the message, and the unit needs `NotifyAccess=all`.
 */
export async function notifySystemd(shell: Shell): Promise<void> {
  const { NOTIFY_SOCKET, PATH } = shell.environment;
  if (NOTIFY_SOCKET === undefined || NOTIFY_SOCKET === "") return;
  const options = { env: { NOTIFY_SOCKET, PATH }, timeout: NOTIFY_MS };
  await promisify(execFile)("systemd-notify", ["--ready"], options).catch((error: unknown) => {
    warnLine(shell, `cannot tell systemd that the server is ready: ${messageOf(error)}. Is systemd-notify in PATH?`);
  });
}
