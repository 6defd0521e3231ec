import { dataErrorCode } from "../postgres/errors.ts";
import type { Storage } from "../postgres/storage.ts";
import { type BatchName, foldUsage, listBatches, rejectBatch } from "../postgres/usage-ledger.ts";

export interface FoldOptions {
  readonly storage: Pick<Storage, "read" | "write">;
  /** Rows folded at once. */
  readonly rows: number;
  /** Told of batches that were set aside. */
  readonly onRejected: (batch: BatchName, code: string) => void;
}

/** Batches that are looked at one by one when they cannot be folded together. */
const ONE_BY_ONE = 100;

/** Folds everything that is in the ledger; a batch that cannot be folded is set aside, and does not hold the others up. */
export async function foldLedger(options: FoldOptions): Promise<number> {
  const { storage, rows } = options;
  let folded = 0;
  for (;;) {
    try {
      const batches = await storage.write((database) => foldUsage(database, rows));
      if (batches === 0) return folded;
      folded += batches;
    } catch (error) {
      if (dataErrorCode(error) === undefined) throw error;
      await foldOneByOne(options);
    }
  }
}

async function foldOneByOne({ storage, rows, onRejected }: FoldOptions): Promise<void> {
  for (const batch of await storage.read((database) => listBatches(database, ONE_BY_ONE))) {
    try {
      await storage.write((database) => foldUsage(database, rows, batch));
    } catch (error) {
      const code = dataErrorCode(error);
      if (code === undefined) throw error;
      await storage.write((database) => rejectBatch(database, batch, code));
      onRejected(batch, code);
    }
  }
}
