import { create } from "@bufbuild/protobuf";
import { type SyncRequest, SyncRequestSchema, type SyncResponse } from "#gen/claviger/v1/key_verifier_pb.js";
import type { SyncChannel, SyncListener } from "../../src/sdk/verifier/sync-link.ts";
import type { Chance } from "../../testkit/chance.ts";
import { Line } from "./line.ts";
import type { Machine } from "./machine.ts";
import { Requests } from "./requests.ts";
import type { World } from "./world.ts";

/** The side of a stream that a node has. */
export interface Served {
  readonly requests: AsyncIterable<SyncRequest>;
  /** Resolves once the next may be sent: whoever does not read is not written to. */
  send(message: SyncResponse): Promise<void>;
  end(error: unknown): void;
}

export interface Ends {
  readonly agent: Machine;
  readonly node: Machine;
  readonly listener: SyncListener;
  /** The node takes the stream. */
  readonly accept: (served: Served) => void;
}

/** Messages that are on their way at once; more wait where they are sent from. */
const WINDOW = 4;
/** As `open-channel.ts` has it. */
const LINGER_MS = 500;

/** A stream of `Sync` from an agent to a node, over lines that chance or a director troubles. */
export class Stream implements SyncChannel {
  readonly up: Line;
  readonly down: Line;
  readonly #ends: Ends;
  readonly #requests = new Requests<SyncRequest>();
  #onTheWay = 0;
  #room: (() => void) | undefined;
  #isClosed = false;

  constructor(around: { world: World; chance: Chance; slowMs: () => number; reorders: boolean }, ends: Ends) {
    const { world, chance, slowMs, reorders } = around;
    const delay = () => (chance.flip(0.05) ? chance.next() * slowMs() : 0) + 0.3 + chance.next() * 3;
    this.#ends = ends;
    this.up = new Line({ world, to: ends.node, delay, reorders });
    this.down = new Line({ world, to: ends.agent, delay, reorders });
    this.up.send(() =>
      ends.accept({ requests: this.#requests, send: (message) => this.#send(message), end: this.#end }),
    );
  }

  get node(): Machine {
    return this.#ends.node;
  }

  send(message: Parameters<SyncChannel["send"]>[0]): void {
    if (!this.#isClosed) this.up.send(() => this.#requests.push(create(SyncRequestSchema, message)));
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.up.send(() => this.#requests.end());
    this.#ends.agent.after(LINGER_MS, () => this.up.send(() => this.#loseAgent()));
  }

  /** Nothing arrives any more; each end is told after so long, or never. */
  break(toldMs: { readonly agent: number | undefined; readonly node: number | undefined }): void {
    const { agent, node, listener } = this.#ends;
    this.up.cut();
    this.down.cut();
    if (toldMs.agent !== undefined)
      agent.after(toldMs.agent, () => this.#isClosed || listener.onBroken(new Error("cut")));
    if (toldMs.node !== undefined) node.after(toldMs.node, () => this.#loseAgent());
  }

  readonly #end = (error: unknown): void => {
    this.down.send(() => this.#isClosed || this.#ends.listener.onBroken(error));
  };

  #loseAgent(): void {
    this.#requests.end(new Error("the stream was reset"));
    this.#onTheWay = 0;
    this.#room?.();
  }

  async #send(message: SyncResponse): Promise<void> {
    this.#onTheWay += 1;
    this.down.send(() => {
      this.up.send(() => this.#read());
      if (!this.#isClosed) this.#ends.listener.onMessage(message);
    });
    while (this.#onTheWay >= WINDOW) {
      await new Promise<void>((resolve) => {
        this.#room = resolve;
      });
    }
  }

  #read(): void {
    this.#onTheWay = Math.max(0, this.#onTheWay - 1);
    this.#room?.();
  }
}
