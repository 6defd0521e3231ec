/** Calls that each client makes on one connection. */
export const CALLS = 10_000;
/** Calls of those that are open at once, below what the server lets one connection open. */
export const AT_ONCE = 100;
/** Bytes of a secret in a large request. */
export const SECRET_BYTES = 4096;
/** Secrets of that size: a message of 60 KB, and one of more than the server takes. */
export const LARGE = 15;
export const TOO_LARGE = 17;
/** Milliseconds after which a stream that goes on has passed its deadline. */
export const DEADLINE_MS = 200;

/** The results of each client's calls, with the codes of gRPC as numbers. */
export const SEEN = {
  unary: "VERDICT_VALID",
  /** Answers to a large request. */
  large: LARGE,
  /** RESOURCE_EXHAUSTED */
  tooLarge: 8,
  /** The first message of a stream that goes on. */
  streamed: "SERVING",
  /** CANCELLED */
  canceled: 1,
  /** DEADLINE_EXCEEDED */
  deadline: 4,
  /** Calls on the same connection, after all that, which found the secret valid. */
  calls: CALLS,
} as const;

/** Makes calls, some of them at once; resolves to how many found the secret valid. */
export async function callOften(call: () => Promise<unknown>): Promise<number> {
  let begun = 0;
  let valid = 0;
  const caller = async () => {
    for (; begun < CALLS; ) {
      begun += 1;
      if ((await call()) === SEEN.unary) valid += 1;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, caller));
  return valid;
}
