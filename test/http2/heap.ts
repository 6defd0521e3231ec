import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Bytes that this process keeps in JavaScript's heap and beside it, after a collection. */
export async function heapBytes(): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, 500));
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  collect();
  return process.memoryUsage().heapUsed + process.memoryUsage().external;
}
