import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { UsageOutcome, UsageReceiptSchema, type UsageReportSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { QUESTION_LIMITS } from "../../wire/question.ts";
import { createLedgerOverSync } from "./usage-over-sync.ts";

/** A report of these methods, to a server that answers so. */
async function append(outcome: UsageOutcome, methods: readonly string[] = []) {
  const reports: MessageInitShape<typeof UsageReportSchema>[] = [];
  const ledger = createLedgerOverSync({
    async report({ value }) {
      reports.push(value);
      return create(UsageReceiptSchema, { outcome });
    },
  });
  const row = { keyId: "key_a", callerId: "", version: 1, verdict: "valid" as const, minute: 1, count: 1, cost: 1 };
  const deltas = methods.map((method) => ({ ...row, method, lastSecond: 60 }));
  const appended = await ledger.append({ epoch: "e", seq: 1, deltas });
  return { appended, sent: reports.flatMap(({ deltas = [] }) => deltas.map(({ method }) => method)) };
}

it("a report is taken or a gap by the server's outcome, and sent again after any other", async () => {
  expect((await append(UsageOutcome.TAKEN)).appended).toBe("taken");
  expect((await append(UsageOutcome.GAP)).appended).toBe("gap");
  await expect(append(UsageOutcome.UNAVAILABLE)).rejects.toThrow("sent again");
});

it("a report carries the proof of each entry, byte by byte", async () => {
  const sent: unknown[] = [];
  const ledger = createLedgerOverSync({
    async report({ value }) {
      sent.push(...(value.deltas ?? []).map(({ usageProof = [] }) => [...usageProof]));
      return create(UsageReceiptSchema, { outcome: UsageOutcome.TAKEN });
    },
  });
  const row = { keyId: "key_a", callerId: "", version: 1, verdict: "valid" as const, method: "", minute: 1 };
  const proof = Buffer.from([0, 127, 128, 255]).toString("latin1");
  await ledger.append({ epoch: "e", seq: 1, deltas: [{ ...row, count: 1, cost: 1, lastSecond: 60, proof }] });
  expect(sent).toEqual([[0, 127, 128, 255]]);
});

it("a method that is too long for a server is counted without its name", async () => {
  const longest = `/a/${"é".repeat((QUESTION_LIMITS.methodBytes - 4) / 2)}b`;
  const { sent } = await append(UsageOutcome.TAKEN, [longest, `${longest}b`]);
  expect(sent).toEqual([longest, ""]);
});
