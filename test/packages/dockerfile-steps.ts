import { execFileSync } from "node:child_process";
import { chownSync, cpSync, existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join, matchesGlob, posix } from "node:path";

/** An instruction of a Dockerfile: its word in capitals, its flags, and what follows. */
export interface Instruction {
  readonly word: string;
  readonly flags: Readonly<Record<string, string>>;
  readonly text: string;
}

/** What a stage's instructions made: a folder in place of the root, and the settings of the image. */
export interface Stage {
  readonly root: string;
  workdir: string;
  readonly env: Record<string, string>;
  readonly labels: Record<string, string>;
  /** The text of the last instruction with that word. */
  readonly last: Record<string, string>;
}

export interface BuildOptions {
  /** The files of the context by relative path, those that `.dockerignore` leaves out included. */
  readonly context: { readonly folder: string; readonly files: readonly string[] };
  /** An empty folder, for a folder per stage. */
  readonly into: string;
  /** The environment of the RUN steps beside their ENV. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Sets the owner, where this process may. */
  readonly isRoot: boolean;
}

export function parseDockerfile(text: string): Instruction[] {
  const lines = text.split("\n").filter((line) => !/^\s*#/.test(line) && line.trim() !== "");
  const joined = lines.join("\n").replace(/\\\n\s*/g, " ");
  return joined.split("\n").map((line) => {
    const [, word = "", given = "", rest = ""] = /^(\w+)\s+((?:--\S+\s+)*)(.*)$/.exec(line.trim()) ?? [];
    const flags = [...given.matchAll(/--([\w-]+)=(\S+)/g)].map(([, name = "", value = ""]) => [name, value]);
    return { word: word.toUpperCase(), flags: Object.fromEntries(flags), text: rest };
  });
}

/** Runs the instructions in plain folders, as an engine would in images, and returns the last stage. */
export function build(instructions: readonly Instruction[], options: BuildOptions): Stage {
  const files = withoutIgnored(options.context);
  const stages = new Map<string, Stage>();
  let stage: Stage | undefined;
  for (const { word, flags, text } of instructions) {
    if (word === "FROM") {
      const [, name = "last"] = / AS (\S+)$/i.exec(text) ?? [];
      stage = { root: join(options.into, name), workdir: "/", env: {}, labels: {}, last: {} };
      mkdirSync(stage.root);
      stages.set(name, stage);
      continue;
    }
    if (stage === undefined) throw new Error(`${word} stands before FROM`);
    const { root } = stage;
    stage.last[word] = text;
    if (word === "WORKDIR") {
      stage.workdir = posix.resolve(stage.workdir, text);
      mkdirSync(join(root, stage.workdir), { recursive: true });
    } else if (word === "ENV") Object.assign(stage.env, pairs(text));
    else if (word === "LABEL") Object.assign(stage.labels, pairs(text));
    else if (word === "RUN") runStep(stage, text, options);
    else if (word === "COPY") {
      const from = flags.from === undefined ? undefined : stages.get(flags.from);
      if (flags.from !== undefined && from === undefined) throw new Error(`COPY from an unknown stage ${flags.from}`);
      const source = from === undefined ? { folder: options.context.folder, files } : { folder: from.root };
      copyStep(stage, text, source);
      const owner = flags.chown?.split(":").map(Number) ?? [];
      if (options.isRoot && owner[0] !== undefined && owner[1] !== undefined) {
        chownSync(join(root, text.split(" ").at(-1) ?? ""), owner[0], owner[1]);
      }
    }
  }
  if (stage === undefined) throw new Error("the Dockerfile has no FROM");
  return stage;
}

function runStep({ root, workdir, env }: Stage, text: string, options: BuildOptions): void {
  if (/(^|[\s"'=])\//.test(text)) throw new Error(`RUN would leave its folder by an absolute path: ${text}`);
  execFileSync("sh", ["-ec", text], { cwd: join(root, workdir), env: { ...options.env, ...env }, stdio: "pipe" });
}

function copyStep({ root, workdir }: Stage, text: string, from: { folder: string; files?: readonly string[] }): void {
  const names = text.split(/\s+/);
  const target = names.pop() ?? "";
  const to = join(root, posix.resolve(workdir, target));
  for (const name of names) {
    const source = join(from.folder, name);
    const isFolder = existsSync(source) && statSync(source).isDirectory();
    const wanted = from.files?.filter((file) => file === name || file.startsWith(`${name}/`));
    if (!existsSync(source) || wanted?.length === 0) throw new Error(`COPY finds no ${name}`);
    const destination = isFolder || !/(^\.|\/)$/.test(target) ? to : join(to, basename(name));
    if (isFolder && wanted !== undefined) {
      for (const file of wanted) cpSync(join(from.folder, file), join(destination, file.slice(name.length)));
    } else {
      mkdirSync(dirname(destination), { recursive: true });
      cpSync(source, destination, { recursive: true, verbatimSymlinks: true, mode: 0 });
    }
  }
}

/** The last pattern of `.dockerignore` that matches a file or a folder above it decides. */
function withoutIgnored({ folder, files }: BuildOptions["context"]): string[] {
  const patterns = readFileSync(join(folder, ".dockerignore"), "utf8")
    .split("\n")
    .filter((line) => line !== "");
  const isIgnored = (file: string) =>
    patterns.reduce((ignored, pattern) => {
      const isKept = pattern.startsWith("!");
      return matchesOrIsBelow(file, isKept ? pattern.slice(1) : pattern) ? !isKept : ignored;
    }, false);
  return files.filter((file) => !isIgnored(file));
}

function matchesOrIsBelow(file: string, pattern: string): boolean {
  return file !== "." && (matchesGlob(file, pattern) || matchesOrIsBelow(dirname(file), pattern));
}

/** `A=b C="d e"` as an object. */
function pairs(text: string): Record<string, string> {
  const found = [...text.matchAll(/([\w.]+)=(?:"([^"]*)"|(\S+))/g)];
  return Object.fromEntries(found.map(([, name = "", quoted, plain]) => [name, quoted ?? plain ?? ""]));
}
