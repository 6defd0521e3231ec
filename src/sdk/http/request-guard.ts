import { SECRET_RETIRES } from "../attach/retirement.ts";
import type { MethodAccess } from "../protect/access.ts";
import { type Admission, createGuard } from "../protect/guard.ts";
import { checkKeyOptions, KEY_RULES, type KeyOptions } from "../protect/key-options.ts";
import { type Principal, retirementOf } from "../protect/principal.ts";
import { internalError, type Refusal } from "../protect/refusal.ts";
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
import { type OwnBody, type RefusalResponse, type Refused, refusalResponse } from "./refusal-response.ts";
import { type HttpRequest, takeCredential } from "./request.ts";

/** As elsewhere; and where all requests are asked the same, it can be said without a function. */
export interface HttpKeyOptions<Request> extends Omit<KeyOptions<Request>, "scopes" | "anonymous"> {
  /** Scopes that the key must hold, all of them; at most 64, without `*`. Default: none. */
  readonly scopes?: readonly string[] | ((request: Request) => readonly string[] | undefined);
  /** Whether requests may come without a key; a key that comes all the same must be good. Default: no. */
  readonly anonymous?: boolean | ((request: Request) => boolean | undefined);
  /** What usage is counted under, in the shape `/service/method`, such as `/shop/list-orders`; at most 256 bytes. Default: nothing. */
  readonly method?: string | ((request: Request) => string | undefined);
  /**
   * Called for each request that is refused, before it is answered: to log it, or to answer with a body of the service's
   * own, which it then returns. The request has no key any more. Default: no function.
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

/** One request at a framework's door. */
export interface Exchange<Request> {
  /** As the framework has it: what options are asked about, and where the principal is put. */
  readonly request: Request;
  /** As Node has it: what the key is taken from. */
  readonly raw: HttpRequest;
  readonly peer: string | undefined;
  readonly refuse: (response: RefusalResponse) => void;
  readonly setHeader: (name: string, value: string) => void;
  /** Lets it in. */
  readonly proceed: () => void;
}

/**
 * Decides about requests, of whatever framework.
 *
 * @throws TypeError without a verifier, for an option that is wrong, and for one whose name is unknown
 * @throws Error if `scopes` are asked for and `anonymous` is true
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
    // In a turn of its own, as without a promise: what a handler throws is the service's.
    if (decision instanceof Promise)
      void decision.then((admission) => process.nextTick(conclude, admission, exchange, answer));
    else conclude(decision, exchange, answer);
  };
}

/** Throws nothing itself, only what the handler does. */
function conclude<Request extends object>(
  admission: Admission,
  exchange: Exchange<Request>,
  answer: Answer<Request>,
): void {
  if (isLetIn(admission, exchange, answer)) exchange.proceed();
}

/** Whether the request goes on to its handler; it was answered if not. */
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

/** The request was answered by another part of the service meanwhile, or cannot be answered at all. */
function refuseAfter<Request>(error: unknown, { refuse, request }: Exchange<Request>, answer: Answer<Request>): void {
  try {
    refuse(answer(internalError(error), request));
  } catch {
    // Its headers were sent already.
  }
}

/** How a refusal of that request is answered. Does not throw. */
type Answer<Request> = (refusal: Refusal, request: Request) => RefusalResponse;

/** Answers as `onRefused` says. One that throws, or returns what is no body, is told of as a listener is. */
function createAnswer<Request>(onRefused: HttpKeyOptions<Request>["onRefused"]): Answer<Request> {
  if (onRefused === undefined) return (refusal) => refusalResponse(refusal);
  let own: OwnBody | undefined;
  const ask = createListener("onRefused", ({ request, refused }: { request: Request; refused: Refused }) => {
    const answered: unknown = onRefused(request, refused);
    if (isThenable(answered)) return answered;
    if (answered !== undefined && !isOwnBody(answered)) throw new TypeError("it returned no body. Return OwnBody");
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
    throw new Error("requests cannot be anonymous and asked for scopes. Leave anonymous or scopes out");
  return access;
}
