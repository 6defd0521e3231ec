import type { ServerConfig } from "./config.ts";
import { openLog } from "./logger.ts";
import { openStorage } from "./open-storage.ts";
import type { RunningServer, RunOptions } from "./run-server.ts";

export interface ServeOptions extends RunOptions {
  readonly config: ServerConfig;
}

/** Starts the server, all or nothing. */
export async function serve({ config, ...options }: ServeOptions): Promise<RunningServer> {
  const serverLog = openLog(config.logLevel, { isShared: config.workers > 1 });
  for (const warning of config.warnings) serverLog.log.warn(warning);
  // Loading takes this thread as long as copying a database takes the disk.
  const load = () => import("./run-server.ts");
  const opened = await openStorage(config, load);
  try {
    const { runServer } = await load();
    return await runServer(options, { config, opened, ...serverLog });
  } catch (error) {
    await opened.close();
    throw error;
  }
}
