/**
 * What the process ends with. 1 is kept for verdicts, so that a script can tell "this key is bad" from everything
 * else, above all from "could not decide".
 */
export const EXIT = {
  /** Done, or `VALID`. */
  ok: 0,
  /** Verified, and the verdict is not `VALID`. */
  denied: 1,
  /** The command line or a setting is wrong; nothing was asked. */
  usage: 2,
  /** Claviger refused. */
  refused: 3,
  /** Nobody could decide: no connection, no answer in time, a defect. */
  undecided: 4,
  /** A defect ended a server: the log says which. EX_SOFTWARE of sysexits.h. */
  defect: 70,
  /** Ctrl-C at the prompt: 128 + SIGINT, as shells have it. */
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];
