import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { stripTypeScriptTypes } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { REPOSITORY } from "../../testkit/repository-copy.ts";
import { outputOf } from "../../testkit/run-program.ts";
import { createSdkProject, type SdkProject } from "../../testkit/sdk-project.ts";

/** A file that the page of the SDK shows. */
export interface PageFile {
  readonly language: string;
  /** What the first line of the block says that the file is called. */
  readonly name: string;
  readonly text: string;
}

/** The port that the page's services listen on, and its clients call. */
const PAGE_PORT = 8080;
/** Where the page has secrets. */
const PAGE_SECRETS = "/run/secrets/";

/**
 * Runs before a program of the page, so that its text need not be changed: PORT is used instead of the page's port, on
 * loopback, and files of SECRETS instead of /run/secrets. `acceptWebSocket` is the reader's own.
 */
const PRELOAD = `
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import net from "node:net";
const { PORT, SECRETS } = process.env;
const { listen } = net.Server.prototype;
net.Server.prototype.listen = function (...args) {
  const [at, ...rest] = args;
  if (Number(at?.port ?? at) !== ${PAGE_PORT}) return listen.apply(this, args);
  const done = rest.find((one) => typeof one === "function");
  return listen.call(this, { port: Number(PORT), host: "127.0.0.1" }, done);
};
const { connect } = net.Socket.prototype;
net.Socket.prototype.connect = function (...args) {
  const options = Array.isArray(args[0]) ? args[0][0] : args[0];
  if (Number(options?.port) === ${PAGE_PORT}) options.port = Number(PORT);
  return connect.apply(this, args);
};
const { readFile } = fs.promises;
fs.promises.readFile = (path, ...rest) => readFile(String(path).replace("${PAGE_SECRETS}", SECRETS + "/"), ...rest);
globalThis.acceptWebSocket = (req, socket) => socket.end("HTTP/1.1 101 Switching Protocols\\r\\n\\r\\n");
syncBuiltinESMExports();
`;

/** Every block of the page that is a file, in its order. */
export function pageFiles(): PageFile[] {
  const page = readFileSync(join(REPOSITORY, "src/sdk/README.md"), "utf8");
  return [...page.matchAll(/^```(ts|proto|yaml)\n(.*?)^```$/gms)].map(([, language = "", text = ""]) => {
    const name = /^(?:\/\/|#) ([\w/.-]+\.\w+)[:\n]/.exec(text)?.[1];
    if (name === undefined) throw new Error(`a block of the page has no file name in its first line:\n${text}`);
    return { language, name, text };
  });
}

/** The project of a reader who has saved every file of the page, installed the packages and run `buf generate`. */
export async function createPageProject(): Promise<SdkProject> {
  const source = await mkdtemp(join(tmpdir(), "claviger-page-"));
  try {
    for (const { name, text } of pageFiles()) {
      await mkdir(dirname(join(source, name)), { recursive: true });
      await writeFile(join(source, name), text);
      if (/(?<!\.test)\.ts$/.test(name)) await writeFile(join(source, commonName(name)), toCommonModule(text));
    }
    await writeFile(join(source, "given.d.ts"), "declare function acceptWebSocket(...upgrade: unknown[]): void;\n");
    await writeFile(join(source, "preload.mjs"), PRELOAD);
    const project = await createSdkProject(source);
    const bin = join(REPOSITORY, "node_modules/.bin");
    await outputOf(join(bin, "buf"), ["generate"], {
      cwd: project.folder,
      env: { PATH: `${bin}:${process.env.PATH}` },
    });
    return project;
  } finally {
    await rm(source, { recursive: true, force: true });
  }
}

/** What `name` is called as a CommonJS module. */
export function commonName(name: string): string {
  return name.replace(/\.ts$/, ".cjs");
}

/** The same program for those who load packages by `require`: without types, which CommonJS files cannot have here. */
function toCommonModule(text: string): string {
  const [, imports = "", program = ""] =
    /^((?:\/\/[^\n]*\n|import [^\n]*\n|[ \t]*\n)*)(.*)$/s.exec(stripTypeScriptTypes(text)) ?? [];
  const requires = imports
    .replace(/^import (\{.*\}) from ("[^"]+");/gm, "const $1 = require($2);")
    .replace(/^import (\w+) from ("[^"]+");/gm, "const $1 = require($2);");
  return `${requires}(async () => {\n${program}})();\n`;
}
