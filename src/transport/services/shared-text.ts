/** Milliseconds between two collections. */
const PAUSE_MS = 100;

/**
 * Limits how often a costly text is made: one collection at a time, and a pause after each. Each caller gets a text whose
 * collection began after its call; callers that come during a collection or a pause share the next one.
 */
export function shareCollections(collect: () => Promise<string>, pauseMs = PAUSE_MS): () => Promise<string> {
  let free: Promise<unknown> = Promise.resolve();
  let next: Promise<string> | undefined;
  return () => {
    next ??= free.then(() => {
      next = undefined;
      const text = collect();
      const pause = () => new Promise<void>((done) => setTimeout(done, pauseMs).unref());
      free = text.then(pause, pause);
      return text;
    });
    return next;
  };
}
