import cluster from "node:cluster";
import type { MetricsText } from "../../transport/services/metrics-handler.ts";
import type { Metrics, MetricsSnapshot } from "../observe/metrics.ts";

/** The messages of a worker to the process that keeps it. */
export type FromWorker =
  /** It serves; what its start shows. */
  | { readonly kind: "ready"; readonly lines: readonly string[] }
  /** A client asked it for the metrics of all workers. */
  | { readonly kind: "metrics wanted"; readonly id: number }
  | { readonly kind: "own metrics"; readonly id: number; readonly metrics: MetricsSnapshot };

/** The messages to a worker. */
export type ToWorker =
  | { readonly kind: "stop" }
  | { readonly kind: "own metrics wanted"; readonly id: number }
  /** Undefined: some worker did not answer. */
  | { readonly kind: "metrics"; readonly id: number; readonly text: string | undefined };

/** One of several processes that serve the same port, as it sees the one that keeps them. */
export interface WorkerLink {
  /** Says that this worker serves. */
  ready(lines: readonly string[]): void;
  /** The metrics of all workers together, which any of them may be asked for. */
  share(own: Metrics): MetricsText;
  /** Calls `listener` when this worker is to stop. */
  onStop(listener: () => void): void;
  /** Nothing keeps the process alive any more. */
  release(): void;
}

/** Undefined in a process that is not a worker. */
export function openWorkerLink(): WorkerLink | undefined {
  const { worker } = cluster;
  if (worker === undefined) return undefined;
  // The process that keeps this one may be gone: then this one ends, too.
  const send = (message: FromWorker) => void worker.send(message, () => undefined);
  const on = (listener: (message: ToWorker) => void) => void worker.on("message", listener);
  return {
    ready: (lines) => send({ kind: "ready", lines }),
    share: (own) => shareMetrics(own, send, on),
    onStop: (listener) => on(({ kind }) => void (kind === "stop" && listener())),
    release: () => void worker.disconnect(),
  };
}

function shareMetrics(
  own: Metrics,
  send: (message: FromWorker) => void,
  on: (listener: (message: ToWorker) => void) => void,
): MetricsText {
  const asked = new Map<number, PromiseWithResolvers<string>>();
  let lastId = 0;
  const answer = async (id: number) => {
    // Without an answer the other side says that this worker did not give one.
    const metrics = await own.snapshot().catch(() => undefined);
    if (metrics !== undefined) send({ kind: "own metrics", id, metrics });
  };
  on((message) => {
    if (message.kind === "own metrics wanted") void answer(message.id);
    if (message.kind !== "metrics") return;
    const { id, text } = message;
    if (text === undefined) asked.get(id)?.reject(new Error("a worker does not answer"));
    else asked.get(id)?.resolve(text);
    asked.delete(id);
  });
  return {
    contentType: own.contentType,
    text() {
      const answer = Promise.withResolvers<string>();
      lastId += 1;
      asked.set(lastId, answer);
      send({ kind: "metrics wanted", id: lastId });
      return answer.promise;
    },
  };
}
