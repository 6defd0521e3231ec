import { readFile, rename, writeFile } from "node:fs/promises";
import { MIN_ROOT_BYTES } from "../../keys/root-secret.ts";
import { Secret } from "../../keys/secret.ts";
import type { Random } from "../../system/random.ts";

/** Reads the root secrets of the embedded database, made on the first start; the file is its owner's alone. */
export async function readOrMakeRootSecrets(file: string, random: Random): Promise<Secret> {
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (text !== undefined) return new Secret(text.trim());
  const made = Buffer.from(random(MIN_ROOT_BYTES)).toString("base64");
  await writeFile(`${file}.new`, `${made}\n`, { mode: 0o600, flush: true });
  await rename(`${file}.new`, file);
  return new Secret(made);
}
