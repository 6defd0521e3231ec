import { faultOfName, isFieldValue } from "./field-syntax.ts";
import type { HeaderList } from "./hpack/decoder.ts";

/** The head of a request that RFC 9113, sections 8.2 and 8.3, allows. Shared by all requests with the same header list. */
export class RequestHead {
  readonly method: string;
  readonly scheme: string;
  /** Begins with a slash, or is `*` for OPTIONS. */
  readonly path: string;
  /** `:authority`, or `host` without it. */
  readonly authority: string;
  /**
   * Lower-case name to value; without pseudo-headers. Repeated fields are joined by ", ", and `cookie` by "; ". A field
   * with one value by definition counts once if its values are equal; different ones are joined, so that no receiver
   * takes the first for the whole.
   */
  readonly headers: ReadonlyMap<string, string>;
  readonly contentLength: number | undefined;
  /** For receivers: the results that they keep for a head that comes again. */
  notes: unknown = undefined;

  constructor(pseudo: PseudoHeaders, headers: ReadonlyMap<string, string>) {
    const length = headers.get("content-length");
    this.method = pseudo.method ?? "";
    this.scheme = pseudo.scheme ?? "";
    this.path = pseudo.path ?? "";
    this.authority = pseudo.authority ?? headers.get("host") ?? "";
    this.headers = headers;
    this.contentLength = length === undefined ? undefined : Number(length);
  }
}

/** A head that makes a stream error of type PROTOCOL_ERROR. */
export class MalformedHead {
  /** Names the broken rule; quotes no value. */
  readonly reason: string;

  constructor(reason: string) {
    this.reason = reason;
  }
}

interface PseudoHeaders {
  method?: string;
  scheme?: string;
  path?: string;
  authority?: string;
}

const PSEUDO_HEADERS: ReadonlyMap<string, keyof PseudoHeaders> = new Map([
  [":method", "method"],
  [":scheme", "scheme"],
  [":path", "path"],
  [":authority", "authority"],
]);

/** Fields whose definition allows one value. */
const SINGLE: ReadonlySet<string> = new Set([
  "age",
  "authorization",
  "content-length",
  "content-location",
  "content-range",
  "content-type",
  "date",
  "etag",
  "expires",
  "from",
  "host",
  "if-modified-since",
  "if-range",
  "if-unmodified-since",
  "last-modified",
  "location",
  "max-forwards",
  "origin",
  "proxy-authorization",
  "range",
  "referer",
  "retry-after",
  "server",
  "te",
  "user-agent",
]);

const METHOD = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const SCHEME = /^[A-Za-z][A-Za-z0-9+\-.]*$/;
const PATH = /^\/[\x21-\x7e\x80-\xff]*$/;
/** A host with an optional port; no user information (RFC 9113, section 8.3.1), no space or comma of a joined list. */
const AUTHORITY = /^[\w\-.~!$&'()*+;=:%[\]]+$/;
/** Fewer digits than the largest number that is exact. */
const CONTENT_LENGTH = /^\d{1,15}$/;
const DEFAULT_PORT: ReadonlyMap<string, RegExp> = new Map([
  ["http", /:(?:80)?$/],
  ["https", /:(?:443)?$/],
]);

/** The request head of a header list; worked out once for each list. */
export function requestHeadOf(list: HeaderList): RequestHead | MalformedHead {
  const { head } = list;
  if (head instanceof RequestHead || head instanceof MalformedHead) return head;
  const made = makeHead(list);
  list.head = made;
  return made;
}

/** Whether the trailers of a request keep the rules for fields. They have no pseudo-headers. */
export function isValidTrailers(list: HeaderList): boolean {
  if (list.isTooLarge) return false;
  for (let at = 0; at < list.fields.length; at += 2) {
    if (faultOfField(list.fields[at] as string, list.fields[at + 1] as string) !== undefined) return false;
  }
  return true;
}

function makeHead({ fields, isTooLarge }: HeaderList): RequestHead | MalformedHead {
  if (isTooLarge) return new MalformedHead("the header list is larger than allowed");
  const pseudo: PseudoHeaders = {};
  const headers = new Map<string, string>();
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] as string;
    const value = fields[at + 1] as string;
    const fault = name.startsWith(":") ? takePseudo(pseudo, name, value, headers.size) : faultOfField(name, value);
    if (fault !== undefined) return new MalformedHead(fault);
    if (!name.startsWith(":")) addTo(headers, name, value);
  }
  const fault = faultOfPseudo(pseudo) ?? faultOfAuthority(pseudo, headers.get("host")) ?? faultOfLength(headers);
  return fault === undefined ? new RequestHead(pseudo, headers) : new MalformedHead(fault);
}

function takePseudo(pseudo: PseudoHeaders, name: string, value: string, fieldsBefore: number): string | undefined {
  const key = PSEUDO_HEADERS.get(name);
  if (key === undefined) return "a pseudo-header is unknown";
  if (fieldsBefore > 0) return `${name} comes after a field`;
  if (pseudo[key] !== undefined) return `${name} is repeated`;
  pseudo[key] = value;
  return undefined;
}

function faultOfField(name: string, value: string): string | undefined {
  const fault = faultOfName(name);
  if (fault !== undefined) return fault;
  if (!isFieldValue(value)) return `the value of ${name} has a control character, or a space at an end`;
  if (name === "te" && value.toLowerCase() !== "trailers") return "the value of te is not “trailers”";
  return undefined;
}

function addTo(headers: Map<string, string>, name: string, value: string): void {
  const before = headers.get(name);
  if (before === undefined) headers.set(name, value);
  else if (before !== value || !SINGLE.has(name)) headers.set(name, joined(name, before, value));
}

function joined(name: string, before: string, value: string): string {
  return name === "cookie" ? `${before}; ${value}` : `${before}, ${value}`;
}

/** CONNECT is refused: it has no path, and this server opens no tunnels. */
function faultOfPseudo({ method, scheme, path }: PseudoHeaders): string | undefined {
  if (method === undefined || !METHOD.test(method)) return ":method is missing, or not a token";
  if (method === "CONNECT") return ":method is CONNECT, which this server does not serve";
  if (scheme === undefined || !SCHEME.test(scheme)) return ":scheme is missing, or not a scheme";
  if (path === undefined || !(PATH.test(path) || (path === "*" && method === "OPTIONS"))) {
    return ":path is missing, or does not begin with a slash, or has a character that is not allowed";
  }
  return undefined;
}

function faultOfAuthority({ scheme = "", authority }: PseudoHeaders, host: string | undefined): string | undefined {
  const used = authority ?? host;
  if (used === undefined) return ":authority and host are missing";
  if (!AUTHORITY.test(used)) return ":authority or host is empty, repeated, or not a host with an optional port";
  if (host !== undefined && normalized(used, scheme) !== normalized(host, scheme))
    return "host differs from :authority";
  return undefined;
}

/** Without the default port of the scheme and in lower case (RFC 3986, section 6.2). */
function normalized(authority: string, scheme: string): string {
  const lower = authority.toLowerCase();
  const defaultPort = DEFAULT_PORT.get(scheme.toLowerCase());
  return defaultPort === undefined ? lower : lower.replace(defaultPort, "");
}

function faultOfLength(headers: ReadonlyMap<string, string>): string | undefined {
  const length = headers.get("content-length");
  return length === undefined || CONTENT_LENGTH.test(length) ? undefined : "content-length is not one decimal number";
}
