import { afterAll } from "vitest";
import { takeUnheard } from "./unheard.ts";

/** For each test file: no server that it started may have had a defect, even if its tests did not notice. */
afterAll(() => {
  const noted = takeUnheard();
  if (noted !== "") throw new Error(`a server had a defect:\n${noted}`);
});
