import cluster, { type Worker } from "node:cluster";
import type { Logger } from "pino";
import { monotonicMs } from "../../system/node.ts";
import { type ServerConfig, WORKER_NUMBER } from "../config/config.ts";
import { createLogger, logDefect } from "../observe/logger.ts";
import { type MetricsSnapshot, mergeMetrics } from "../observe/metrics.ts";
import type { RunningServer } from "../run-server.ts";
import { StartupError } from "../startup-error.ts";
import type { FromWorker, ToWorker } from "./worker.ts";

export interface WorkersOptions {
  readonly config: ServerConfig;
  /** Shows a line to the operator who started the server. */
  readonly announce: (line: string) => void;
  /** Takes the function that reports an error which no code has handled. */
  readonly onDefect: (report: (error: unknown, kind: string) => void) => void;
}

/** Longer than a worker waits for calls under way, by this; then it is killed. */
const STOP_MARGIN_MS = 5000;

/** Between two starts of one worker, in milliseconds: twice as long each time that it did not live that long. */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 30_000;
/** Longest wait for a worker's metrics. */
const METRICS_MS = 2000;

/**
 * Serves one port with several processes: starts workers of this program (Node's cluster, which hands
 * connections round), all or nothing; replaces those that end, and stops them all.
 *
 * @throws StartupError if one does not start; it has said why itself.
 */
export async function serveWithWorkers(options: WorkersOptions): Promise<Pick<RunningServer, "close">> {
  const workers = new Workers(options);
  try {
    // One migrates, the others find it done.
    const lines = await workers.start(1);
    await Promise.all(Array.from({ length: options.config.workers - 1 }, (_, index) => workers.start(index + 2)));
    for (const line of lines) options.announce(line);
  } catch {
    await workers.close();
    throw new StartupError("a worker did not start, and none serves: see above");
  }
  workers.keep();
  return workers;
}

class Workers {
  readonly #options: WorkersOptions;
  readonly #log: Logger;
  readonly #running = new Map<number, Worker>();
  readonly #exits = new Set<Promise<void>>();
  readonly #replacements = new Map<number, NodeJS.Timeout>();
  readonly #pauses = new Map<number, number>();
  readonly #collections = new Map<number, Collection>();
  #lastCollection = 0;
  /** `starting`: one that ends before it serves ends all. `kept`: those that end are replaced. */
  #phase: "starting" | "kept" | "closing" = "starting";

  constructor(options: WorkersOptions) {
    this.#options = options;
    this.#log = createLogger(options.config.logLevel, options.config.logFormat);
    options.onDefect((error, kind) => logDefect(this.#log, error, kind));
  }

  /** Starts the worker of that number; resolves with the lines of its start once it serves. */
  start(number: number): Promise<readonly string[]> {
    const beganMs = monotonicMs();
    const worker = cluster.fork({ [WORKER_NUMBER]: String(number) });
    const ready = Promise.withResolvers<readonly string[]>();
    const gone = Promise.withResolvers<void>();
    let hasServed = false;
    this.#running.set(number, worker);
    this.#exits.add(gone.promise);
    worker.once("exit", (code, signal) => {
      this.#running.delete(number);
      this.#exits.delete(gone.promise);
      gone.resolve();
      ready.reject(new Error(`worker ${number} ended (${signal ?? code}) before it served`));
      if (this.#phase === "closing" || (this.#phase === "starting" && !hasServed)) return;
      const ended = { event: "worker", number, pid: worker.process.pid, code, signal };
      this.#log.error(ended, "a worker ended, and is replaced");
      if (this.#phase === "kept") this.#replace(number, monotonicMs() - beganMs);
    });
    worker.on("message", (message: FromWorker) => {
      if (message.kind === "ready") {
        hasServed = true;
        ready.resolve(message.lines);
      } else if (message.kind === "metrics wanted") void this.#answerMetrics(worker, message.id);
      else this.#collections.get(message.id)?.take(worker.id, message.metrics);
    });
    return ready.promise;
  }

  /** From now on a worker that ends is replaced. */
  keep(): void {
    this.#phase = "kept";
    for (let number = 1; number <= this.#options.config.workers; number++) {
      if (!this.#running.has(number)) this.#replace(number, 0);
    }
  }

  async close(): Promise<void> {
    this.#phase = "closing";
    for (const timer of this.#replacements.values()) clearTimeout(timer);
    const gone = Promise.all(this.#exits);
    for (const worker of this.#running.values()) tell(worker, { kind: "stop" });
    const cutOff = setTimeout(() => {
      for (const worker of this.#running.values()) worker.process.kill("SIGKILL");
    }, this.#options.config.policy.port.drainMs + STOP_MARGIN_MS);
    await gone;
    clearTimeout(cutOff);
  }

  #replace(number: number, livedMs: number): void {
    const pauseMs = livedMs > LONGEST_PAUSE_MS ? FIRST_PAUSE_MS : (this.#pauses.get(number) ?? FIRST_PAUSE_MS);
    this.#pauses.set(number, Math.min(2 * pauseMs, LONGEST_PAUSE_MS));
    // One that does not start has ended, and is replaced as well.
    const start = () => void this.start(number).catch(() => undefined);
    this.#replacements.set(number, setTimeout(start, pauseMs));
  }

  #warnOfMetrics(error: unknown): undefined {
    this.#log.warn({ event: "metrics", err: error }, "the metrics of the workers could not be added up");
  }

  async #answerMetrics(asker: Worker, id: number): Promise<void> {
    this.#lastCollection += 1;
    const own = this.#lastCollection;
    const workers = [...this.#running.values()];
    const collection = new Collection(workers.map((worker) => worker.id));
    this.#collections.set(own, collection);
    for (const worker of workers) tell(worker, { kind: "own metrics wanted", id: own });
    const snapshots = await collection.within(METRICS_MS);
    this.#collections.delete(own);
    const text = snapshots && (await mergeMetrics(snapshots).catch((error: unknown) => this.#warnOfMetrics(error)));
    tell(asker, { kind: "metrics", id, text });
  }
}

/** The metrics of several workers, as they come in. */
class Collection {
  readonly #missing: Set<number>;
  readonly #snapshots: MetricsSnapshot[] = [];
  readonly #all = Promise.withResolvers<readonly MetricsSnapshot[] | undefined>();

  constructor(workers: readonly number[]) {
    this.#missing = new Set(workers);
  }

  take(worker: number, snapshot: MetricsSnapshot): void {
    if (!this.#missing.delete(worker)) return;
    this.#snapshots.push(snapshot);
    if (this.#missing.size === 0) this.#all.resolve(this.#snapshots);
  }

  /** All, or undefined if some are missing by then: sums without them would look like counters set back. */
  async within(ms: number): Promise<readonly MetricsSnapshot[] | undefined> {
    const timer = setTimeout(() => this.#all.resolve(undefined), ms);
    const snapshots = await this.#all.promise;
    clearTimeout(timer);
    return snapshots;
  }
}

/** One that is about to end may not listen any more. */
function tell(worker: Worker, message: ToWorker): void {
  if (worker.isConnected()) worker.send(message, () => undefined);
}
