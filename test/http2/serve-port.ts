import { expect, onTestFinished } from "vitest";
import type { BodySink, HttpHandler } from "../../src/transport/http/exchange.ts";
import type { PortLimits } from "../../src/transport/port/limits.ts";
import { createPort } from "../../src/transport/port/port.ts";
import { TEST_PORT_LIMITS } from "../../testkit/port-limits.ts";

export interface ServedPort {
  readonly port: number;
  readonly url: string;
}

const ANSWER = Buffer.from("this is the answer");

/** Reads the request to its end, then answers it with a short text. */
export const answerShortly: HttpHandler = (exchange) => {
  const sink: BodySink = {
    piece: () => undefined,
    ended() {
      exchange.respond(200, [["content-type", "text/plain"]], false);
      exchange.write(ANSWER);
      exchange.end();
    },
    failed: () => undefined,
  };
  exchange.listen(sink);
};

/** A port with the limits of the server, but for those that are given. It ends with the test, which fails if it had a defect. */
export async function servePort(handler: HttpHandler, changed: Partial<PortLimits> = {}): Promise<ServedPort> {
  const errors: Error[] = [];
  const limits = { ...TEST_PORT_LIMITS, drainMs: 0, ...changed };
  const onError = (error: Error) => void errors.push(error);
  const port = createPort({ host: "127.0.0.1", port: 0, handler, limits, onError });
  const address = await port.listen();
  onTestFinished(async () => {
    await port.drain();
    expect(errors).toEqual([]);
  });
  return address;
}
