import { expect, it } from "vitest";
import { CloseStack } from "./close-stack.ts";

it("runs every step once, last first, and throws the first error at the end", async () => {
  const ran: string[] = [];
  const stack = new CloseStack();
  stack.defer(() => ran.push("storage"));
  stack.defer(async () => {
    ran.push("bus");
    throw new Error("the bus is away");
  });
  stack.defer(() => {
    ran.push("port");
    throw new Error("the port is away");
  });
  await expect(stack.close()).rejects.toThrow("the port is away");
  expect(ran).toEqual(["port", "bus", "storage"]);
  await stack.close();
  expect(ran).toHaveLength(3);
});
