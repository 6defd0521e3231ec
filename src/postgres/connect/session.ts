import type { ClientBase } from "pg";
import { POOLER_HINT, UnfitSession } from "../errors.ts";
import { CLAVIGER_TABLES } from "../migrate/service-role.ts";

/** Longest statement, wait for a lock, and idle transaction, in milliseconds; 0: no limit. Postgres enforces them. */
export interface SessionLimits {
  readonly statementTimeoutMs: number;
  readonly lockTimeoutMs: number;
  /** A frozen process must not hold its locks. */
  readonly idleInTransactionTimeoutMs: number;
}

/**
 * The settings that a session needs for right answers. A database, a role or postgresql.conf may set others; the
 * start-up options of a connection win over all of them. Session variables that are missing here change only speed, the
 * server's log, or features that Claviger does not use.
 */
export const ANSWERS: readonly (readonly [name: string, value: string])[] = [
  // How values are written. A time in another style is an error, see columns.ts.
  ["DateStyle", "ISO"],
  ["IntervalStyle", "postgres"],
  ["TimeZone", "UTC"],
  ["bytea_output", "hex"],
  ["extra_float_digits", "1"],
  // How statements are read.
  ["standard_conforming_strings", "on"],
  ["array_nulls", "on"],
  ["transform_null_equals", "off"],
  // Which tables a statement means: the tables of Claviger are in `public`; a temporary one must not stand in for them.
  ["search_path", "public, pg_temp"],
  // Which rows a statement sees. With `off`, a policy that would hide rows makes an error of the statement.
  ["row_security", "off"],
  // A limit would make GIN indexes leave out rows: keys that a revocation by label has to find.
  ["gin_fuzzy_search_limit", "0"],
  // The locks, and the order of revisions (docs/protocol/revocation.md#r12), are made for READ COMMITTED.
  ["default_transaction_isolation", "read committed"],
  ["default_transaction_read_only", "off"],
  ["default_transaction_deferrable", "off"],
  // A server that may answer before the disk, or the standby, has a commit would forget revocations.
  ["synchronous_commit", "on"],
  // Whether a connection lasts: an error of one statement must not end it, nor a quiet hour.
  ["exit_on_error", "off"],
  ["idle_session_timeout", "0"],
  // A new connection compiles half a second otherwise, longer than a look-up may take.
  ["jit", "off"],
];

/** Set with the others and looked for afterwards: without it, something in between has dropped them all. */
const MARK = "claviger.session";

/** The settings of a connection beside `ANSWERS`. */
export interface SessionOptions extends SessionLimits {
  readonly role?: string | undefined;
  readonly keepsPlans?: boolean;
}

type Settings = readonly (readonly [name: string, value: string])[];

/** The start-up options of a connection that is made to Postgres itself, after those that its URL asks for. */
export function startupOptions(
  options: SessionOptions,
  { fromUrl = "" }: { readonly fromUrl?: string | undefined } = {},
): string {
  const ours = settingsOf(options).map(([name, value]) => `-c ${name}=${value.replace(/[\\ ]/g, "\\$&")}`);
  return [fromUrl, ...ours].join(" ").trim();
}

/**
 * Begins a transaction with the same settings, in one round trip: for a connection pooler, which refuses or ignores
 * start-up options. They end with the transaction, so that no other client of the pooler meets them.
 */
export function beginWithSettings(options: SessionOptions): string {
  // The defaults that `ANSWERS` names would come too late for this transaction.
  const begin = "begin isolation level read committed, read write, not deferrable;";
  return `${begin}\n${statements("set local", settingsOf(options))}`;
}

/**
 * Begins a transaction on a direct connection. Plans of its statements are kept, and so none may read a table from end to
 * end that an index will do for: the table may have been small when the plan was made.
 */
export const BEGIN_FOR_PLANS = "begin; set local enable_seqscan = off";

/** The same as statements, for the embedded Postgres, whose only session is a superuser's. */
export function sessionStatements(): string {
  return statements("set", [...ANSWERS, ["session_replication_role", "origin"]]);
}

/** Whether a connection has the start-up options that it asked for: a pooler may have dropped them. */
export async function hasStartupOptions(client: Pick<ClientBase, "query">): Promise<boolean> {
  const { rows } = await client.query("select current_setting($1, true) as mark", [MARK]);
  return rows[0].mark === "on";
}

function settingsOf(options: SessionOptions): Settings {
  return [
    ...ANSWERS,
    ["statement_timeout", String(options.statementTimeoutMs)],
    ["lock_timeout", String(options.lockTimeoutMs)],
    ["idle_in_transaction_session_timeout", String(options.idleInTransactionTimeoutMs)],
    ...(options.keepsPlans ? [["enable_seqscan", "off"] as const] : []),
    ...(options.role === undefined ? [] : [["role", options.role] as const]),
    [MARK, "on"],
  ];
}

function statements(set: "set" | "set local", settings: Settings): string {
  // A list of names in quotes would be one name.
  const written = ([name, value]: Settings[number]) => (name === "search_path" ? value : `'${value}'`);
  return settings.map((setting) => `${set} ${setting[0]} = ${written(setting)};`).join("\n");
}

const CHECK = `select pg_is_in_recovery() as standby,
  current_setting('server_encoding') as encoding,
  current_setting('session_replication_role') as replication,
  current_setting('${MARK}', true) as mark,
  to_regclass('api_key') is not distinct from to_regclass('public.api_key') as resolves,
  (select min(relname) from pg_class where relnamespace = to_regnamespace('public') and relrowsecurity
    and relname = any($1) and row_security_active(oid)) as hidden`;

/**
 * Looks at what a connection cannot set for itself.
 *
 * @throws UnfitSession
 */
export async function checkSession(
  client: Pick<ClientBase, "query">,
  { hasSettings = true }: { readonly hasSettings?: boolean } = {},
): Promise<void> {
  const { rows } = await client.query(CHECK, [CLAVIGER_TABLES]);
  const problem = problemOf(rows[0], hasSettings);
  if (problem !== undefined) throw new UnfitSession(problem);
}

function problemOf(row: Readonly<Record<string, unknown>>, hasSettings: boolean): string | undefined {
  if (row.standby === true) {
    return "the server is a standby, and Claviger needs the primary. Promote it, or name every host: postgres://user@host1,host2/database";
  }
  if (row.encoding !== "UTF8") {
    return `the encoding of the database is ${row.encoding}, and Claviger needs UTF8. Make one with \`create database … encoding 'UTF8' template template0\``;
  }
  if (row.replication === "replica") {
    return "session_replication_role is replica, which switches foreign keys and triggers off. Reset it for the database and the role (`alter … reset session_replication_role`)";
  }
  if (row.hidden !== null) {
    return `a row-level security policy may hide rows of table ${row.hidden}. Disable row-level security for it, or give the role BYPASSRLS`;
  }
  if (hasSettings && row.mark !== "on") {
    return `a connection pooler drops the session settings. ${POOLER_HINT}`;
  }
  if (row.resolves !== true) {
    return "search_path does not lead to the tables in schema public. Reset it for the database and the role (`alter … reset search_path`)";
  }
  return undefined;
}
