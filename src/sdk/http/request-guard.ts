import type { IncomingHttpHeaders } from "node:http";
import type { MethodAccess } from "../../wire/access.ts";
import { type Credential, takeCredential as takeFrom } from "../../wire/credential.ts";
import { internalError, type Refusal } from "../../wire/refusal.ts";
import { type OwnBody, type RefusalResponse, type Refused, refusalResponse } from "../../wire/refusal-response.ts";
import { SECRET_RETIRES } from "../attach/retirement.ts";
import { type Admission, createGuard } from "../protect/guard.ts";
import { checkKeyOptions, KEY_RULES, type KeyOptions } from "../protect/key-options.ts";
import { type Principal, retirementOf } from "../protect/principal.ts";
import type { Verifier } from "../verification.ts";
import {
  askFunction,
  BOOLEAN,
  FUNCTION,
  isThenable,
  METHOD,
  OBJECT,
  orFunction,
  type Rules,
  SCOPES,
  TEXT,
} from "../verifier/check-options.ts";
import { createListener } from "../verifier/listener.ts";
import type { WithPrincipal } from "./principal.ts";

/** The used part of a request of node:http, of node:http2's compatibility layer, or of Express. */
export interface HttpRequest {
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: string[];
  /** Undefined with HTTP/2. */
  readonly headersDistinct?: Record<string, string[] | undefined>;
  readonly socket?: { readonly remoteAddress?: string | undefined } | undefined;
  /** Express: the caller's address, by its setting `trust proxy`. */
  readonly ip?: string | undefined;
}

/** Reads the key of a request and removes it from `headers`, `headersDistinct` and `rawHeaders`. */
export function takeCredential(request: HttpRequest): Credential {
  return takeFrom({ valuesOf: (name) => valuesOf(request, name), remove: (name) => remove(request, name) });
}

/** `headers` lacks a second `authorization`, and a proxy in front may have checked that one. */
function valuesOf({ headers, headersDistinct }: HttpRequest, name: string): readonly string[] {
  const value = headersDistinct?.[name] ?? headers[name] ?? [];
  return typeof value === "string" ? [value] : value;
}

function remove({ headers, headersDistinct, rawHeaders }: HttpRequest, name: string): void {
  // Node derives both from rawHeaders at their first read, so that they are read before rawHeaders changes.
  delete headers[name];
  delete headersDistinct?.[name];
  for (let at = rawHeaders.length - 2; at >= 0; at -= 2)
    if (rawHeaders[at]?.toLowerCase() === name) rawHeaders.splice(at, 2);
}

/** The options of every `requireKey`. An option that is the same for all requests may be a value instead of a function. */
export interface HttpKeyOptions<Request> extends Omit<KeyOptions<Request>, "scopes" | "anonymous"> {
  /** The key must hold all of these scopes; at most 64, without `*`. Default: none. */
  readonly scopes?: readonly string[] | ((request: Request) => readonly string[] | undefined);
  /** Whether requests may come without a key; a key that is sent must still be good. Default: false. */
  readonly anonymous?: boolean | ((request: Request) => boolean | undefined);
  /** The method for usage counts, `/service/method`, such as `/shop/list-orders`; at most 256 bytes. Default: none. */
  readonly method?: string | ((request: Request) => string | undefined);
  /**
   * Called for each refused request before it is answered: to log it, or to return a body of the service's own. The key is
   * already removed from the request. Default: no function.
   */
  readonly onRefused?: (request: Request, refused: Refused) => OwnBody | undefined;
}

const RULES: Rules<HttpKeyOptions<never>> = {
  ...KEY_RULES,
  scopes: orFunction(SCOPES),
  anonymous: orFunction(BOOLEAN),
  method: orFunction(METHOD),
  onRefused: FUNCTION,
};

/** One request, and the ways to answer it in its framework. */
export interface Exchange<Request> {
  /** The framework's request: passed to options, and gets the principal. */
  readonly request: Request;
  /** Node's request: the key is removed from it. */
  readonly raw: HttpRequest;
  readonly peer: string | undefined;
  readonly refuse: (response: RefusalResponse) => void;
  readonly setHeader: (name: string, value: string) => void;
  /** Lets the request in. */
  readonly proceed: () => void;
}

/**
 * Decides about requests of every framework.
 *
 * @throws TypeError without a verifier, and for a wrong or unknown option
 * @throws Error if there are `scopes` and `anonymous` is true
 */
export function createRequestGuard<Request extends object>(
  verifier: Verifier,
  options: HttpKeyOptions<Request>,
): (exchange: Exchange<Request>) => void {
  checkKeyOptions("requireKey", { verifier, options }, RULES);
  const guard = createGuard(verifier, guardOptions(options));
  const access = constantAccess(options);
  const { method } = options;
  const methodOf = (call: Request) =>
    typeof method === "function" ? askFunction("method", { ask: method, call, rule: METHOD }) : method;
  const answer = createAnswer(options.onRefused);
  return (exchange) => {
    const { request, raw, peer } = exchange;
    const decision = guard({
      call: request,
      carrier: raw,
      takeCredential: () => takeCredential(raw),
      method: () => methodOf(request),
      peer,
      access: () => access,
    });
    // In a separate turn, so that an error of the handler is not caught by this promise.
    if (decision instanceof Promise)
      void decision.then((admission) => process.nextTick(conclude, admission, exchange, answer));
    else conclude(decision, exchange, answer);
  };
}

/** Throws only errors of the handler. */
function conclude<Request extends object>(
  admission: Admission,
  exchange: Exchange<Request>,
  answer: Answer<Request>,
): void {
  if (isLetIn(admission, exchange, answer)) exchange.proceed();
}

/** Whether the request goes on to its handler. If not, it has been answered. */
function isLetIn<Request extends object>(
  admission: Admission,
  exchange: Exchange<Request>,
  answer: Answer<Request>,
): boolean {
  try {
    if ("refusal" in admission) {
      exchange.refuse(answer(admission.refusal, exchange.request));
      return false;
    }
    setPrincipal(exchange.request, admission.principal);
    const retires = retirementOf(admission.principal);
    if (retires !== undefined) exchange.setHeader(SECRET_RETIRES, retires);
    return true;
  } catch (error) {
    refuseAfter(error, exchange, answer);
    return false;
  }
}

/** Another part of the service has answered the request meanwhile, or it cannot be answered at all. */
function refuseAfter<Request>(error: unknown, { refuse, request }: Exchange<Request>, answer: Answer<Request>): void {
  try {
    refuse(answer(internalError(error), request));
  } catch {
    // Its headers have already been sent.
  }
}

/** Makes the answer to a refused request. Does not throw. */
type Answer<Request> = (refusal: Refusal, request: Request) => RefusalResponse;

/** Answers with the body of `onRefused`. If that throws or returns a wrong body, the process is warned. */
function createAnswer<Request>(onRefused: HttpKeyOptions<Request>["onRefused"]): Answer<Request> {
  if (onRefused === undefined) return (refusal) => refusalResponse(refusal);
  let own: OwnBody | undefined;
  const ask = createListener("onRefused", ({ request, refused }: { request: Request; refused: Refused }) => {
    const answered: unknown = onRefused(request, refused);
    if (isThenable(answered)) return answered;
    if (answered !== undefined && !isOwnBody(answered)) throw new TypeError("it returned a wrong body. Return OwnBody");
    own = answered;
    return undefined;
  });
  return (refusal, request) =>
    refusalResponse(refusal, (refused) => {
      own = undefined;
      ask({ request, refused });
      return own;
    });
}

function isOwnBody(value: unknown): value is OwnBody {
  if (!OBJECT.holds(value)) return false;
  const { contentType, body } = value as Partial<OwnBody>;
  return TEXT.holds(contentType) && (TEXT.holds(body) || OBJECT.holds(body));
}

function setPrincipal(request: WithPrincipal & object, principal: Principal | undefined): void {
  request.principal = principal;
}

function guardOptions<Request>({ scopes, anonymous, ...others }: HttpKeyOptions<Request>): KeyOptions<Request> {
  return {
    ...others,
    ...(typeof scopes === "function" && { scopes }),
    ...(typeof anonymous === "function" && { anonymous }),
  };
}

function constantAccess<Request>({ scopes, anonymous }: HttpKeyOptions<Request>): MethodAccess {
  const access = { scopes: typeof scopes === "object" ? [...scopes] : [], anonymous: anonymous === true };
  if (access.anonymous && access.scopes.length > 0)
    throw new Error("anonymous requests cannot require scopes. Remove anonymous or scopes");
  return access;
}
