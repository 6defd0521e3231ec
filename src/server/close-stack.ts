type Step = () => Promise<unknown> | unknown;

/** Closes what was opened, last first; every step runs, even after one that failed. */
export class CloseStack {
  readonly #steps: Step[] = [];

  /** Adds the step that undoes what was just done. */
  defer(step: Step): void {
    this.#steps.push(step);
  }

  /** Runs the steps, once. Throws the first error, after the last step. */
  async close(): Promise<void> {
    const errors: unknown[] = [];
    for (const step of this.#steps.splice(0).reverse()) {
      try {
        await step();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }
}
