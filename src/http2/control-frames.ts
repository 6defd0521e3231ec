import { type ErrorCode, Flag, Setting, Type } from "./frames.ts";
import type { Output } from "./output.ts";

/** Writes the frames of a connection that belong to no answer. */
export class ControlFrames {
  readonly #output: Output;

  constructor(output: Output) {
    this.#output = output;
  }

  settings({ maxConcurrentStreams, maxHeaderListSize }: Readonly<Record<OwnSetting, number>>): void {
    this.#output.frame(12, Type.settings, 0, 0);
    this.#output.uint16(Setting.maxConcurrentStreams);
    this.#output.uint32(maxConcurrentStreams);
    this.#output.uint16(Setting.maxHeaderListSize);
    this.#output.uint32(maxHeaderListSize);
  }

  settingsAck(): void {
    this.#output.frame(0, Type.settings, Flag.ack, 0);
  }

  windowUpdate(streamId: number, bytes: number): void {
    this.#output.frame(4, Type.windowUpdate, 0, streamId);
    this.#output.uint32(bytes);
  }

  /** With 8 bytes of opaque data. */
  ping(data: Uint8Array): void {
    this.#output.frame(8, Type.ping, 0, 0);
    this.#output.bytes(data);
  }

  pingAck(bytes: Uint8Array, from: number, to: number): void {
    this.#output.frame(8, Type.ping, Flag.ack, 0);
    this.#output.bytes(bytes, from, to);
  }

  reset(streamId: number, code: ErrorCode): void {
    this.#output.frame(4, Type.rstStream, 0, streamId);
    this.#output.uint32(code);
  }

  /** The message tells the client what to do. */
  goAway(lastStreamId: number, code: ErrorCode, message: string): void {
    const debug = Buffer.from(message);
    this.#output.frame(8 + debug.length, Type.goaway, 0, 0);
    this.#output.uint32(lastStreamId);
    this.#output.uint32(code);
    this.#output.bytes(debug);
  }
}

type OwnSetting = "maxConcurrentStreams" | "maxHeaderListSize";
