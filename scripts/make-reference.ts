/**
 * `npm run reference`: writes the pages of `docs/reference/` from their sources, which are the list of settings, the
 * policy, the registered metrics, and the comments of the proto files. A test holds each page to what this script gives.
 */
import { execFileSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { fromBinary } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  type FieldDescriptorProto,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  type FileDescriptorProto,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { codeFromString, codeToHttpStatus } from "@connectrpc/connect/protocol-connect";
import { METHOD_PERMISSIONS } from "../src/access/permissions.ts";
import { TLS_VARIABLES } from "../src/postgres/connect/tls.ts";
import { POLICY, type PolicyEntry } from "../src/server/config/policy.ts";
import { SETTINGS } from "../src/server/config/settings.ts";
import { createMetrics } from "../src/server/observe/metrics.ts";

const REPOSITORY = join(dirname(fileURLToPath(import.meta.url)), "..");
const FOLDER = "docs/reference";

interface Documented {
  readonly name: string;
  /** Paragraphs are apart by an empty line. */
  readonly comment: string;
}

interface ProtoField extends Documented {
  readonly type: string;
  readonly isRepeated: boolean;
}

interface ProtoMessage extends Documented {
  readonly fields: readonly ProtoField[];
}

interface ProtoMethod extends Documented {
  readonly input: string;
  readonly output: string;
  readonly clientStreaming: boolean;
  readonly serverStreaming: boolean;
}

interface ProtoService extends Documented {
  readonly methods: readonly ProtoMethod[];
}

interface ProtoFile {
  readonly name: string;
  readonly services: readonly ProtoService[];
  readonly messages: readonly ProtoMessage[];
  readonly enums: readonly (Documented & { readonly values: readonly Documented[] })[];
}

/** Texts by their path in the repository. */
export type Documents = Readonly<Record<string, string>>;

/** The paths of pages that are missing or outdated. */
export function findStale(pages: Documents, read: (path: string) => string): string[] {
  return Object.entries(pages)
    .filter(([path, text]) => {
      try {
        return read(path) !== text;
      } catch {
        return true;
      }
    })
    .map(([path]) => path);
}

/** Every page. */
export async function makeReference(): Promise<Documents> {
  const files = readProtos();
  return {
    [`${FOLDER}/settings.md`]: settingsPage(),
    [`${FOLDER}/errors.md`]: errorsPage(files),
    [`${FOLDER}/metrics.md`]: await metricsPage(),
    [`${FOLDER}/grpc.md`]: grpcPage(files),
  };
}

function page(title: string, source: string, ...parts: readonly string[]): string {
  const origin = `<!-- Made from ${source} by \`npm run reference\`. Edit the source. -->`;
  return `${[`# ${title}`, origin, ...parts].join("\n\n")}\n`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replace(/\|/g, "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

function code(text: string): string {
  return `\`${text}\``;
}

function settingsPage(): string {
  const rows = SETTINGS.map(({ variable, flag, default: standard, text, secret }) => [
    ...[code(variable), flag === undefined ? "" : code(flag), standard],
    `${text}${secret ? ". Secret" : ""}`,
  ]);
  const rooms: readonly (readonly [string, Readonly<Record<string, PolicyEntry>>])[] = Object.entries(POLICY);
  return page(
    "Settings",
    "`SETTING` and `POLICY` of the server",
    "The server reads environment variables. A flag of `claviger serve` overrides its variable. `<variable>_FILE` names a file that holds a secret, such as `DATABASE_URL_FILE`. Give secrets in a variable or a file: other users of the machine can read flags.",
    table(["Variable", "Flag", "Default", "Meaning"], rows),
    `URLs of Postgres take their TLS parameters from ${TLS_VARIABLES.map(([name]) => code(name)).join(", ")} where the URL has none.`,
    "## Policy",
    'The policy is a set of numbers that few operators change. `CLAVIGER_POLICY` is JSON by room, such as `{"manage": {"keysPerOwner": 20}, "postgres": {"poolSize": 20}}`. Values that are left out keep their default. All times are in milliseconds.',
    ...rooms.flatMap(([room, entries]) => [
      `### ${code(room)}`,
      table(
        ["Name", "Default", "Unit", "Meaning"],
        Object.entries(entries).map(([name, entry]) => [code(name), ofDefault(entry), entry.unit, entry.text]),
      ),
    ]),
  );
}

const SPANS = [
  [86_400_000, "day"],
  [3_600_000, "hour"],
  [60_000, "minute"],
  [1000, "second"],
] as const;

/** The default, with large times in words too. */
function ofDefault({ default: standard, unit }: PolicyEntry): string {
  const shown = code(typeof standard === "string" ? standard : JSON.stringify(standard));
  const ms = unit === "milliseconds" ? Number(standard) : 0;
  const span = SPANS.find(([length]) => ms >= length && ms % length === 0);
  if (span === undefined) return shown;
  const [length, name] = span;
  return `${shown} (${ms / length} ${name}${ms === length ? "" : "s"})`;
}

/** Messages of the stream, whose protocol the proto file explains as a whole. */
const STREAMED =
  /^(Sync(Request|Response)|Lease(Request|Grant)|Applied|Ask|Usage(Report|Delta|Receipt|Outcome)|GiveBack|Change|Answer|Refusal|Entry|Closing)$/;

/** The comment of an error reason: code, origin, cause, and what to do. */
const REASON =
  /^`(?<code>[A-Z_]+)`(?<origin>, from [^:]+)?: (?<cause>.+?)\. (?<retry>Do not retry|Retry)(?<advice>.*)$/;

function errorsPage(files: readonly ProtoFile[]): string {
  const reasons = files.flatMap(({ enums }) => enums).find(({ name }) => name === "ErrorReason")?.values ?? [];
  const rows = reasons.filter(({ name }) => !name.endsWith("_UNSPECIFIED")).map(errorRow);
  return page(
    "Errors",
    "`proto/claviger/v1/error_reason.proto`",
    "Every error carries a `google.rpc.ErrorInfo` in domain `claviger` whose `reason` is one of these. The HTTP status is the status of the Connect protocol; gRPC and gRPC-Web answer 200. A verdict is no error: a denied verification is an OK response.",
    table(["Reason", "gRPC code", "HTTP", "Cause", "Retry", "Remedy"], rows),
  );
}

function errorRow({ name, comment }: Documented): readonly string[] {
  const { code: grpc = "", origin = "", cause = "", retry, advice = "" } = REASON.exec(comment)?.groups ?? {};
  const status = codeFromString(grpc.toLowerCase());
  if (status === undefined) {
    throw new Error(`the comment of ${name} is not "\`CODE\`: cause. Retry …" or "… Do not retry; …": ${comment}`);
  }
  const text = advice.replace(/^[;,]? /, "").replace(/\.$/, "");
  const shown = retry === "Retry" ? `retry ${text}` : text;
  return [
    ...[code(name.replace("ERROR_REASON_", "")), code(grpc), String(codeToHttpStatus(status))],
    ...[capital(`${cause}${origin === "" ? "" : ` (${origin.slice(2)})`}`), retry === "Retry" ? "yes" : "no"],
    capital(shown),
  ];
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Reads the names and labels from metrics of a server that has counted one thing of each kind. */
async function metricsPage(): Promise<string> {
  const counters = { hits: 0, misses: 0, discardedFills: 0 };
  const metrics = createMetrics("0");
  metrics.observe({
    ...{ endingKeys: { soonestEndSeconds: () => 0 }, sealing: { seconds: 0 } },
    storages: { main: { measure: () => undefined, load: () => ({ busy: 0, idle: 0, waiting: 0 }) } },
    ...{ cache: { counters, size: 0 }, lease: { state: "leased", registrations: 0, lostRevisions: 0 } },
    redis: { up: new Map([["bus", true]]) },
    certificate: { failures: 0, expirySeconds: 0 },
    feed: { appliedRevision: 0, newestRevision: 0, children: { size: 0, waitedOut: 0 } },
    usage: {
      verifier: {
        counters: { verdicts: { router: new Map(), fast: new Map(), sync: new Map() }, allowedUncharged: 0 },
      },
      recorder: { size: 0, counters: { methodsDropped: 0, countsDropped: 0 } },
      flusher: { lagMs: 0, counters: { batches: 0, rows: 0 } },
      ...{ folded: { batches: 0, rejected: 0 }, reports: { counters: { rowsRefused: 0, reportsPutOff: 0 } } },
    },
    canary: () => ({ rounds: 0, undecided: 0, revokedButAccepted: 0 }),
  });
  metrics.call("method", "OK", 1);
  metrics.barrier("acknowledged", 0.001);
  const rows = linesOf(await metrics.text()).filter(([name = ""]) => name.startsWith("`claviger_"));
  return page(
    "Metrics",
    "`createMetrics` of the server",
    "`GET /metrics` has the Prometheus text format and needs no credential. No label holds an id. With `--workers`, the values are those of all processes together. `claviger_redis_up` exists with Redis only, `claviger_canary_…` with a canary only, `claviger_tls_…` with a certificate only. The names that begin with `process_` and `nodejs_` are the defaults of prom-client.",
    table(["Name", "Type", "Labels", "Help"], rows),
  );
}

function linesOf(text: string): readonly (readonly string[])[] {
  return [...text.matchAll(/^# HELP (\S+) (.*)\n# TYPE \S+ (\S+)\n(.*)/gm)]
    .map(([, name = "", help = "", type = "", sample = ""]) => {
      const labels = [...sample.matchAll(/(\w+)="/g)].map(([, label = ""]) => label).filter((label) => label !== "le");
      return [code(name), type, labels.map(code).join(", "), help];
    })
    .sort(([one = ""], [other = ""]) => (one < other ? -1 : 1));
}

function grpcPage(files: readonly ProtoFile[]): string {
  const own = files.filter(({ name }) => name.startsWith("claviger/v1/")).map(withoutStream);
  const isLocal = new Set(own.flatMap(({ messages, enums }) => [...messages, ...enums]).map(({ name }) => name));
  const typeCell = (type: string) => {
    const name = type.replace(/^\.?claviger\.v1\./, "");
    return isLocal.has(name) ? `[${name}](#${name.toLowerCase()})` : code(type.replace(/^\./, ""));
  };
  const services = own.flatMap(({ services: each }) => each).map((service) => serviceSection(service, typeCell));
  const messages = own.flatMap((file) => file.messages).map((message) => messageSection(message, typeCell));
  const enums = own
    .flatMap((file) => file.enums)
    .filter(({ name }) => name !== "ErrorReason")
    .map(({ name, comment, values }) => {
      const rows = values.map((value) => [code(value.name), value.comment]);
      return [`### ${name}`, comment, table(["Value", "Meaning"], rows)].join("\n\n");
    });
  return page(
    "gRPC",
    "`proto/claviger/v1/`",
    "The methods are in package `claviger.v1`. Each permission is a scope of the calling key. The [proto files](../../proto/claviger/v1/) have the rules of fields, and [key_verifier.proto](../../proto/claviger/v1/key_verifier.proto) has the messages of `Sync` and their protocol. The reasons of errors are in [errors.md](errors.md).",
    ...services,
    "## Messages",
    ...messages,
    "## Enums",
    ...enums,
  );
}

function withoutStream(file: ProtoFile): ProtoFile {
  const isKept = ({ name }: Documented) => !STREAMED.test(name);
  return { ...file, messages: file.messages.filter(isKept), enums: file.enums.filter(isKept) };
}

function serviceSection({ name, comment, methods }: ProtoService, typeCell: (type: string) => string): string {
  const rows = methods.map((method) => {
    const permission = METHOD_PERMISSIONS[`claviger.v1.${name}/${method.name}`] ?? "";
    const stream = (is: boolean) => (is ? "stream of " : "");
    return [
      ...[code(method.name), permission === "open" ? "none" : code(permission)],
      `${stream(method.clientStreaming)}${typeCell(method.input)}`,
      `${stream(method.serverStreaming)}${typeCell(method.output)}`,
      firstParagraph(method.comment).replace(` Needs ${code(permission)}.`, ""),
    ];
  });
  const head = ["Method", "Permission", "Request", "Response", "Meaning"];
  return [`## ${name}`, firstParagraph(comment), table(head, rows)].join("\n\n");
}

function messageSection({ name, comment, fields }: ProtoMessage, typeCell: (type: string) => string): string {
  const rows = fields.map((field) => [
    code(field.name),
    `${field.isRepeated ? "repeated " : ""}${typeCell(field.type)}`,
    oneLine(field.comment),
  ]);
  const body = rows.length === 0 ? "No fields." : table(["Field", "Type", "Meaning"], rows);
  return [`### ${name}`, comment, body].join("\n\n");
}

function firstParagraph(comment: string): string {
  return oneLine(comment.split("\n\n")[0] ?? "");
}

function oneLine(comment: string): string {
  return comment.replace(/\s*\n\s*/g, " ");
}

/** Numbers of the lists in descriptors, which paths of comments are made of. */
const [FILE_MESSAGES, FILE_ENUMS, FILE_SERVICES, MEMBERS] = [4, 5, 6, 2];

function readProtos(): readonly ProtoFile[] {
  const buf = join(REPOSITORY, "node_modules/.bin/buf");
  const image = execFileSync(buf, ["build", "-o", "-#format=binpb"], { cwd: REPOSITORY, maxBuffer: 64 * 1024 * 1024 });
  return fromBinary(FileDescriptorSetSchema, image).file.map(readProto);
}

function readProto(file: FileDescriptorProto): ProtoFile {
  const comments = new Map(
    (file.sourceCodeInfo?.location ?? []).map(({ path, leadingComments }) => [path.join(), trimmed(leadingComments)]),
  );
  const at = (...path: readonly number[]) => comments.get(path.join()) ?? "";
  return {
    name: file.name,
    services: file.service.map(({ name, method }, number) => ({
      ...{ name, comment: at(FILE_SERVICES, number) },
      methods: method.map((each, own) => ({
        ...{ name: each.name, comment: at(FILE_SERVICES, number, MEMBERS, own) },
        ...{ input: each.inputType, output: each.outputType },
        ...{ clientStreaming: each.clientStreaming, serverStreaming: each.serverStreaming },
      })),
    })),
    messages: file.messageType.map((message, number) => ({
      ...{ name: message.name, comment: at(FILE_MESSAGES, number) },
      fields: message.field.map((field, own) => ({
        ...{ name: field.name, comment: oneLine(at(FILE_MESSAGES, number, MEMBERS, own)) },
        ...typeOf(field, message),
      })),
    })),
    enums: file.enumType.map(({ name, value }, number) => ({
      ...{ name, comment: at(FILE_ENUMS, number) },
      values: value.map((each, own) => ({
        ...{ name: each.name, comment: oneLine(at(FILE_ENUMS, number, MEMBERS, own)) },
      })),
    })),
  };
}

function trimmed(comment: string): string {
  return comment.replace(/^ /gm, "").trim();
}

function typeOf(field: FieldDescriptorProto, message: DescriptorProto): Pick<ProtoField, "type" | "isRepeated"> {
  const entry = message.nestedType.find(
    ({ name, options }) => options?.mapEntry && field.typeName.endsWith(`.${name}`),
  );
  const [key, value] = entry?.field.map(nameOfType) ?? [];
  if (key !== undefined && value !== undefined) return { type: `map<${key}, ${value}>`, isRepeated: false };
  return { type: nameOfType(field), isRepeated: field.label === FieldDescriptorProto_Label.REPEATED };
}

function nameOfType({ type, typeName }: FieldDescriptorProto): string {
  return typeName === "" ? FieldDescriptorProto_Type[type].toLowerCase() : typeName;
}

if (import.meta.filename === process.argv[1]) {
  for (const [path, text] of Object.entries(await makeReference())) {
    const file = join(REPOSITORY, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
  }
}
