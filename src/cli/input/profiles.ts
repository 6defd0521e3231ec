import { mkdir, open, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { shownPath } from "../../keys/secret.ts";
import { usageError } from "../cli-error.ts";
import type { Shell } from "../shell.ts";

/** A server, and whom to call it as. */
export interface Profile {
  readonly url: string;
  readonly token: string;
}

const DEFAULT_NAME = "default";
const NAME = /^[A-Za-z0-9_.-]{1,63}$/;

/**
 * The profile that `CLAVIGER_PROFILE` names, or the one of a `claviger login` without a name.
 *
 * @returns `undefined` if there is none, and none was asked for
 * @throws CliError for one that was asked for and is not there, and for a file that others may read or that is damaged
 */
export async function readProfile({ environment }: Pick<Shell, "environment">): Promise<Profile | undefined> {
  const asked = environment.CLAVIGER_PROFILE || undefined;
  const file = profileFile(environment, asked ?? DEFAULT_NAME);
  if (file === undefined) return undefined;
  const text = await readPrivate(file);
  if (text === undefined) {
    if (asked === undefined) return undefined;
    throw usageError(`there is no profile '${asked}': make it with \`claviger login --profile ${asked}\``);
  }
  const profile = parseProfile(text);
  if (profile === undefined)
    throw usageError(`${shownPath(file)} is not a profile: write it again with \`claviger login\``);
  return profile;
}

/** Writes a profile to a file of mode 0600. Returns the path of the file. */
export async function writeProfile(shell: Pick<Shell, "environment">, name: string, profile: Profile): Promise<string> {
  const file = requireFile(shell, name);
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const fresh = `${file}.new`;
  // A file that is already there would keep its mode.
  await rm(fresh, { force: true });
  await writeFile(fresh, `${JSON.stringify(profile, null, 2)}\n`, { mode: 0o600, flag: "wx" });
  await rename(fresh, file);
  return file;
}

/** Removes a profile. Returns whether there was one. */
export async function removeProfile(shell: Pick<Shell, "environment">, name: string): Promise<boolean> {
  const file = requireFile(shell, name);
  try {
    await rm(file);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

/** The name that a flag or the environment gives. */
export function profileName({ environment }: Pick<Shell, "environment">, flag: string | undefined): string {
  const name = flag ?? (environment.CLAVIGER_PROFILE || DEFAULT_NAME);
  if (NAME.test(name)) return name;
  throw usageError("--profile, or CLAVIGER_PROFILE, takes a name of at most 63 letters, digits, '_', '.' and '-'");
}

function requireFile({ environment }: Pick<Shell, "environment">, name: string): string {
  const file = profileFile(environment, name);
  if (file === undefined)
    throw usageError("there is no home folder: set HOME or XDG_CONFIG_HOME to keep a profile there");
  return file;
}

function profileFile(environment: Shell["environment"], name: string): string | undefined {
  if (!NAME.test(name)) throw usageError("CLAVIGER_PROFILE is no name of a profile: see `claviger login --help`");
  const { XDG_CONFIG_HOME = "", HOME = "", APPDATA = "" } = environment;
  const folder = XDG_CONFIG_HOME || (HOME === "" ? APPDATA : join(HOME, ".config"));
  return folder === "" ? undefined : join(folder, "claviger", "profiles", `${name}.json`);
}

async function readPrivate(file: string): Promise<string | undefined> {
  const handle = await open(file, "r").catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw usageError(
      `cannot read ${shownPath(file)} (${codeOf(error)}): correct its rights, or run \`claviger login\` again`,
    );
  });
  if (handle === undefined) return undefined;
  try {
    const { mode } = await handle.stat();
    // Windows has no such rights.
    if (process.platform !== "win32" && (mode & 0o077) !== 0) {
      throw usageError(
        `others may read ${shownPath(file)}, which holds a credential: run \`chmod 600\` on it, and rotate the key`,
      );
    }
    return await handle.readFile("utf8");
  } finally {
    await handle.close();
  }
}

function isMissing(error: unknown): boolean {
  return ["ENOENT", "ENOTDIR"].includes(codeOf(error));
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "unknown error";
}

function parseProfile(text: string): Profile | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null) return undefined;
    const { url, token } = value as Readonly<Record<string, unknown>>;
    return typeof url === "string" && typeof token === "string" ? { url, token } : undefined;
  } catch {
    return undefined;
  }
}
