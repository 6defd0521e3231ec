import { type HttpHandler, pathOf } from "../transport/http/exchange.ts";
import { type AuthzOptions, authzTarget, serveAuthz } from "./authz.ts";
import { serveIntrospect } from "./introspect.ts";

const INTROSPECT_PATH = "/introspect";

/** Serves the HTTP dialects of gateways on both HTTP versions; everything else is for `next`. */
export function createGatewayHandler(
  options: AuthzOptions & { readonly onDefect: (error: unknown) => void },
  next: HttpHandler,
): HttpHandler {
  return (exchange) => {
    const path = pathOf(exchange.target);
    const isAuthz = authzTarget(path) !== undefined;
    if (!isAuthz && path !== INTROSPECT_PATH) {
      next(exchange);
      return;
    }
    const served = isAuthz ? serveAuthz(options, path, exchange) : serveIntrospect(options, exchange);
    served.catch((error: unknown) => {
      options.onDefect(error);
      exchange.destroy();
    });
  };
}
