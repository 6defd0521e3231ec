const PERIOD_MS = 100;

/** Gives a process a share of a core: stops it for the rest of every tenth of a second. Needs no rights. */
export function starve(pid: number, share: number): { stop(): void } {
  const signal = (name: NodeJS.Signals) => {
    try {
      process.kill(pid, name);
    } catch {
      // It has ended.
    }
  };
  let stopping: NodeJS.Timeout | undefined;
  const timer = setInterval(() => {
    signal("SIGCONT");
    stopping = setTimeout(signal, PERIOD_MS * share, "SIGSTOP");
  }, PERIOD_MS);
  return {
    stop() {
      clearInterval(timer);
      clearTimeout(stopping);
      signal("SIGCONT");
    },
  };
}
