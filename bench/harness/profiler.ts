/**
 * Loaded into a server that is measured: SIGUSR2 begins a profile of its CPU, and the next one ends it and leaves it
 * where `profile.ts` looks for it.
 */
import { renameSync, writeFileSync } from "node:fs";
import { Session } from "node:inspector/promises";
import { fileOf } from "./profile.ts";

const session = new Session();
session.connect();
await session.post("Profiler.enable");

process.once("SIGUSR2", async () => {
  await session.post("Profiler.start");
  process.once("SIGUSR2", async () => {
    const { profile } = await session.post("Profiler.stop");
    const file = fileOf(process.pid);
    writeFileSync(`${file}.part`, JSON.stringify(profile));
    renameSync(`${file}.part`, file);
  });
});
