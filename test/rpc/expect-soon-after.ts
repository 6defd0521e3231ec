import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import { expect } from "vitest";

/** Expects `later` to be no earlier than `earlier`, and within the longest wait of a test server. */
export function expectSoonAfter(earlier: Timestamp | undefined, later: Timestamp | undefined): void {
  if (earlier === undefined || later === undefined) throw new Error("there is no time");
  expect(timestampMs(later)).toBeGreaterThanOrEqual(timestampMs(earlier));
  expect(timestampMs(later)).toBeLessThan(timestampMs(earlier) + 1000);
}
