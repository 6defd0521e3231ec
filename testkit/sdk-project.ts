import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { REPOSITORY } from "./repository-copy.ts";
import { outputOf } from "./run-program.ts";

/** A folder like that of a project that uses the SDK. */
export interface SdkProject {
  readonly folder: string;
  /** Removes it. Twice is fine. */
  remove(): Promise<void>;
}

/** A project with the files of `source`, the package `@claviger/sdk` as it is published, and every package that is here. */
export async function createSdkProject(source: string): Promise<SdkProject> {
  const folder = await mkdtemp(join(tmpdir(), "claviger-sdk-project-"));
  const modules = join(folder, "node_modules");
  await cp(source, folder, { recursive: true });
  await mkdir(join(modules, "@claviger"), { recursive: true });
  const installed = (await readdir(join(REPOSITORY, "node_modules"))).filter((name) => !/^\.(?!bin$)/.test(name));
  await Promise.all(installed.map((name) => symlink(join(REPOSITORY, "node_modules", name), join(modules, name))));
  await outputOf(process.execPath, [join(REPOSITORY, "scripts/build-sdk.ts"), join(modules, "@claviger/sdk")]);
  await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module" }));
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) };
}
