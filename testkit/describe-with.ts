import { describe, inject } from "vitest";
import type { Service } from "./services.ts";

function describeWith(service: Service, name: string, body: () => void): void {
  if (inject(service) !== undefined) {
    describe(name, body);
  } else {
    describe(name, { skip: true, meta: { notRunWithout: service } }, body);
  }
}

/** A suite on the shared Postgres; where there is none, `npm test` names it as not run. Take a database in `beforeAll`. */
export function describeWithPostgres(name: string, body: () => void): void {
  describeWith("postgres", name, body);
}

/** A suite on a Postgres of its own that has a standby; where that cannot be made, `npm test` names it as not run. */
export function describeWithStandby(name: string, body: () => void): void {
  describeWith("standby", name, body);
}

/** A suite that needs Redis; where there is none, `npm test` names it as not run. */
export function describeWithRedis(name: string, body: () => void): void {
  describeWith("redis", name, body);
}

/** A suite behind PgBouncer, inside `describeWithPostgres`; where there is none, `npm test` names it as not run. */
export function describeWithPgBouncer(name: string, body: () => void): void {
  describeWith("pgbouncer", name, body);
}

/** A suite that makes certificates; without OpenSSL, `npm test` names it as not run. */
export function describeWithOpenssl(name: string, body: () => void): void {
  describeWith("openssl", name, body);
}

/** A suite behind a gateway; where its program is absent, `npm test` names it as not run. */
export function describeWithGateway(gateway: "envoy" | "nginx" | "haproxy" | "caddy", name: string, body: () => void) {
  describeWith(gateway, name, body);
}

/** A suite that runs Python with gRPC; where there is none, `npm test` names it as not run. */
export function describeWithPython(name: string, body: () => void): void {
  describeWith("python", name, body);
}

/** A suite that runs programs on every Node that is supported; where those are not, `npm test` names it as not run. */
export function describeWithNodes(name: string, body: () => void): void {
  describeWith("nodes", name, body);
}

/** A suite that loads Compose files; without Compose's loader, `npm test` names it as not run. */
export function describeWithCompose(name: string, body: () => void): void {
  describeWith("compose", name, body);
}

/** A suite that renders a Helm chart; without Helm, `npm test` names it as not run. */
export function describeWithHelm(name: string, body: () => void): void {
  describeWith("helm", name, body);
}

/** A suite that checks manifests against Kubernetes' schemas; where those are not, `npm test` names it as not run. */
export function describeWithKubernetes(name: string, body: () => void): void {
  describeWith("kubernetes", name, body);
}

/** A suite that checks units; without systemd, `npm test` names it as not run. */
export function describeWithSystemd(name: string, body: () => void): void {
  describeWith("systemd", name, body);
}

/** A suite that reads the HPACK stories of other encoders; where they are absent, `npm test` names it as not run. */
export function describeWithHpackStories(name: string, body: () => void): void {
  describeWith("hpack", name, body);
}

/** A suite that builds Go programs with gRPC; where that cannot be, `npm test` names it as not run. */
export function describeWithGo(name: string, body: () => void): void {
  describeWith("go", name, body);
}

/** A suite that runs h2spec; where there is none, `npm test` names it as not run. */
export function describeWithH2spec(name: string, body: () => void): void {
  describeWith("h2spec", name, body);
}

/** A suite that runs Connect's conformance suite; where there is none, `npm test` names it as not run. */
export function describeWithConformance(name: string, body: () => void): void {
  describeWith("connectconformance", name, body);
}

/** A suite that runs gRPC's interop client; where there is none, `npm test` names it as not run. */
export function describeWithInterop(name: string, body: () => void): void {
  describeWith("interop", name, body);
}

/** A suite that asks a shell; where there is none, `npm test` names it as not run. */
export function describeWithShell(shell: "bash" | "zsh" | "fish", name: string, body: () => void): void {
  describeWith(shell, name, body);
}

/** A suite that runs nghttp and h2load; where they are absent, `npm test` names it as not run. */
export function describeWithNghttp(name: string, body: () => void): void {
  describeWith("nghttp", name, body);
}

/** A suite that runs curl; where there is none, `npm test` names it as not run. */
export function describeWithCurl(name: string, body: () => void): void {
  describeWith("curl", name, body);
}
