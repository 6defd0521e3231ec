import { createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { KeyVerifier, Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { PROCESS_HEADER } from "../../rpc/gate.ts";

/** A server process as it has registered. */
export interface RegisteredProcess {
  readonly address: string;
  readonly epoch: string;
}

/** Connections that are tried to reach one of several processes: twice as many as a machine has workers. */
const MOST_TRIES = 512;

/**
 * Names each process by its address. Adds `#` and its epoch where the address may lead to another process: where
 * workers share it, or where it is a wildcard, which leads to the caller itself.
 */
export function nameProcesses(processes: readonly RegisteredProcess[]): string[] {
  const isShared = (address: string) => processes.filter((other) => other.address === address).length > 1;
  return processes.map(({ address, epoch }) =>
    isShared(address) || /^https?:\/\/(0\.0\.0\.0|\[::\])(:|$)/.test(address) ? `${address}#${epoch}` : address,
  );
}

export interface ProcessQuestion {
  readonly token: string | undefined;
  readonly secret: string;
  readonly timeoutMs: number;
}

/** Whether the process of that name calls the secret valid. Rejects if it could not be asked, or not be found. */
export async function acceptsAt(name: string, question: ProcessQuestion): Promise<boolean> {
  const [address = "", epoch] = name.split("#");
  if (epoch === undefined) return (await askAnew(address, question)).accepted;
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    const answer = await askAnew(address, question);
    if (answer.epoch === epoch) return answer.accepted;
  }
  throw new Error(`${address} does not lead to process ${epoch}: name an address that does`);
}

/** On a connection of its own, since that is what leads to one process or another. */
async function askAnew(address: string, { token, secret, timeoutMs }: ProcessQuestion) {
  const sessionManager = new Http2SessionManager(address);
  try {
    const verifier = createClient(KeyVerifier, createGrpcTransport({ baseUrl: address, sessionManager }));
    let epoch: string | null = null;
    const { verdict } = await verifier.verify(
      { secret },
      {
        headers: { [PROCESS_HEADER]: "?", ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
        timeoutMs,
        onHeader: (headers) => {
          epoch = headers.get(PROCESS_HEADER);
        },
      },
    );
    return { accepted: verdict === Verdict.VALID, epoch: epoch as string | null };
  } finally {
    sessionManager.abort();
  }
}
