import type { ServerConfig } from "./config/config.ts";
import { logDefect, openLog } from "./observe/logger.ts";
import { openStorage } from "./open/open-storage.ts";
import type { RunningServer, RunOptions } from "./run-server.ts";

export interface ServeOptions extends RunOptions {
  readonly config: ServerConfig;
  /** Resolves when the operator stops the server, which may be while it waits for Postgres. */
  readonly stopped?: Promise<void>;
  /** Takes the function that reports an error which no code has handled. Default: Node ends the process. */
  readonly onDefect?: (report: (error: unknown, kind: string) => void) => void;
}

/** Starts the server, all or nothing. */
export async function serve({ config, stopped, onDefect, ...options }: ServeOptions): Promise<RunningServer> {
  const serverLog = openLog(config.logLevel, { format: config.logFormat, isShared: config.workers > 1 });
  onDefect?.((error, kind) => logDefect(serverLog.log, error, kind));
  for (const warning of config.warnings) serverLog.log.warn(warning);
  const load = () => import("./run-server.ts");
  const opened = await openStorage(config, { load, ...(stopped === undefined ? {} : { stopped }) });
  try {
    const { runServer } = await load();
    return await runServer(options, { config, opened, ...serverLog });
  } catch (error) {
    await opened.close();
    throw error;
  }
}
