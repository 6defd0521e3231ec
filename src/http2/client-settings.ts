import { flowControlError, LARGEST_WINDOW, protocolError, Setting } from "./frames.ts";

/** The settings of a client that this end obeys (RFC 9113, section 6.5.2). */
export interface ClientSettings {
  /** SETTINGS_INITIAL_WINDOW_SIZE; undefined if the frame does not set it. */
  readonly streamWindow: number | undefined;
  /** SETTINGS_HEADER_TABLE_SIZE was set. */
  readonly hasTableSize: boolean;
}

/** Reads the payload of a SETTINGS frame, a multiple of 6 bytes. Throws a ConnectionError for a value out of range. */
export function readSettings(bytes: Buffer, from: number, to: number): ClientSettings {
  let streamWindow: number | undefined;
  let hasTableSize = false;
  for (let at = from; at < to; at += 6) {
    const value = bytes.readUInt32BE(at + 2);
    switch (bytes.readUInt16BE(at)) {
      case Setting.headerTableSize:
        hasTableSize = true;
        break;
      case Setting.enablePush:
        if (value > 1) throw protocolError("SETTINGS_ENABLE_PUSH is neither 0 nor 1");
        break;
      case Setting.initialWindowSize:
        if (value > LARGEST_WINDOW) throw flowControlError("SETTINGS_INITIAL_WINDOW_SIZE is larger than 2^31-1");
        // Only the last one of a frame shows; each would cost a walk over all streams.
        streamWindow = value;
        break;
      case Setting.maxFrameSize:
        if (value < 16_384 || value > 16_777_215) throw protocolError("SETTINGS_MAX_FRAME_SIZE is out of range");
        break;
    }
  }
  return { streamWindow, hasTableSize };
}
