import { dataErrorCode } from "../postgres/errors.ts";
import type { Storage } from "../postgres/storage.ts";
import { foldUsage, listBatches, rejectBatch, splitBatch } from "../postgres/usage-ledger.ts";

export interface FoldOptions {
  readonly storage: Pick<Storage, "read" | "write">;
  /** Rows folded at once. */
  readonly rows: number;
  /** Called with rows that were set aside. */
  readonly onRejected: (rows: number) => void;
}

/** Batches that are folded one by one if they cannot be folded together. */
const ONE_BY_ONE = 100;

/** Folds all rows of the ledger. A row that cannot be folded is set aside alone and delays no other. */
export async function foldLedger(options: FoldOptions): Promise<number> {
  const { storage, rows, onRejected } = options;
  let folded = 0;
  for (;;) {
    try {
      const { batches, rejectedRows } = await storage.write((database) => foldUsage(database, rows));
      if (rejectedRows > 0) onRejected(rejectedRows);
      if (batches === 0) return folded;
      folded += batches;
    } catch (error) {
      if (dataErrorCode(error) === undefined) throw error;
      await foldOneByOne(options);
    }
  }
}

/** Halves a batch that does not fold, until the faulty row is alone. */
async function foldOneByOne({ storage, rows, onRejected }: FoldOptions): Promise<void> {
  const batches = await storage.read((database) => listBatches(database, ONE_BY_ONE));
  for (const batch of batches) {
    try {
      const { rejectedRows } = await storage.write((database) => foldUsage(database, rows, batch));
      if (rejectedRows > 0) onRejected(rejectedRows);
    } catch (error) {
      const code = dataErrorCode(error);
      if (code === undefined) throw error;
      const halves = await storage.write((database) => splitBatch(database, batch));
      batches.push(...halves);
      if (halves.length > 0) continue;
      await storage.write((database) => rejectBatch(database, batch, code));
      onRejected(1);
    }
  }
}
