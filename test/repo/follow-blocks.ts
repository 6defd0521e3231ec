import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Block } from "./pages.ts";
import type { Terminal } from "./terminal.ts";

/** Starts the server beside the shell, asks it, stops it, and ends with its code. */
export const SERVE_FOR_A_MOMENT = `./bin/claviger.js serve > serve.log & server=$!
trap 'kill $server' EXIT
until grep -q "listening on" serve.log; do kill -0 $server; sleep 0.1; done
./bin/claviger.js health --url "http://$CLAVIGER_LISTEN"
trap - EXIT; kill $server; wait $server; rm serve.log`;

/** Saves the programs among the blocks in `folder` and runs the commands, in their order. Returns what those printed. */
export async function followBlocks(terminal: Terminal, folder: string, blocks: readonly Block[]): Promise<string> {
  let printed = "";
  for (const { language, text, file } of blocks) {
    if (language === "sh") {
      printed += await terminal.paste(text);
    } else {
      if (file === undefined) throw new Error(`a program has no file name in its first line:\n${text}`);
      await mkdir(dirname(join(folder, file)), { recursive: true });
      await writeFile(join(folder, file), text);
    }
  }
  return printed;
}
