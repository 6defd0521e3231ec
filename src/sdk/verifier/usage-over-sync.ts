import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { UsageOutcome } from "#gen/claviger/v1/key_verifier_pb.js";
import type { UsageDelta } from "../../keys/usage-delta.ts";
import type { UsageLedger } from "../../usage/flusher.ts";
import { QUESTION_LIMITS } from "../../wire/question.ts";
import { VERDICTS } from "../../wire/verdicts.ts";
import type { SyncLink } from "./sync-link.ts";

/** Limit on the rows of one report: with the longest methods, it stays below a server's limit for one message. */
export const REPORT_ROWS = 150;

/** The usage ledger of a verifier inside an agent: its node appends and confirms. */
export function createLedgerOverSync(link: Pick<SyncLink, "report">): UsageLedger {
  return {
    async append({ epoch, seq, deltas }) {
      const value = { epoch, sequence: BigInt(seq), deltas: deltas.map(deltaToProto) };
      const { outcome } = await link.report({ case: "usage", value });
      if (outcome === UsageOutcome.TAKEN) return "taken";
      if (outcome === UsageOutcome.GAP) return "gap";
      throw new Error("the server could not accept the report; it will be sent again");
    },
  };
}

function deltaToProto({ keyId, version, verdict, method, lastSecond, count, cost, proof = "" }: UsageDelta) {
  const lastTime = timestampFromMs(lastSecond * 1000);
  return {
    keyId,
    secretVersion: version,
    verdict: VERDICTS[verdict],
    lastTime,
    count,
    cost: BigInt(cost),
    method: Buffer.byteLength(method) > QUESTION_LIMITS.methodBytes ? "" : method,
    usageProof: Buffer.from(proof, "latin1"),
  };
}
