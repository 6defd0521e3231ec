import { createConnectRouter } from "@connectrpc/connect";
import { compressionGzip } from "@connectrpc/connect-node";
import { KeyManagement } from "#gen/claviger/v1/key_management_pb.js";
import { KeyVerifier, VerifyRequestSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { Authorization } from "#gen/envoy/service/auth/v3/external_auth_pb.js";
import { Health as HealthService } from "#gen/grpc/health/v1/health_pb.js";
import type { AuthenticateOptions } from "../access/authenticate.ts";
import type { FeatureFlag } from "../access/feature-flag.ts";
import { createSealer } from "../audit/seal-pending.ts";
import { AuditSigner } from "../audit/signer.ts";
import { CheckCall } from "../gateways/check-call.ts";
import { createGatewayHandler } from "../gateways/gateway-handler.ts";
import { UsageMethods } from "../gateways/usage-methods.ts";
import { Keyring } from "../keys/keyring.ts";
import { PageTokens } from "../keys/page-token.ts";
import { Bulkhead, createInTurn } from "../manage/bulkhead.ts";
import { CallerRates } from "../manage/caller-rates.ts";
import type { ManageDeps, ManagePolicy } from "../manage/deps.ts";
import { recordDenial } from "../manage/steps/record.ts";
import { createCallInterceptor } from "../rpc/call-interceptor.ts";
import { CallLog } from "../rpc/call-log.ts";
import { Denials } from "../rpc/denials.ts";
import { presentError } from "../rpc/errors.ts";
import { createFeatureInterceptor } from "../rpc/feature-interceptor.ts";
import { createRequestGate, Gate } from "../rpc/gate.ts";
import { createKeyManagement } from "../rpc/key-management.ts";
import { createKeyVerifier } from "../rpc/key-verifier.ts";
import { SyncStreams } from "../rpc/sync/sync.ts";
import { traceInterceptor } from "../rpc/trace-interceptor.ts";
import { createValidate, createValidateInterceptor } from "../rpc/validate.ts";
import { VerifyCall } from "../rpc/verify-call.ts";
import { monotonicMs, systemClocks, systemRandom, systemTimers } from "../system/node.ts";
import { createDispatch } from "../transport/direct/dispatch.ts";
import { factsOf } from "../transport/direct/plain-grpc.ts";
import { Peers } from "../transport/http/peer-address.ts";
import { Door } from "../transport/overload/door.ts";
import { KnownNetworks } from "../transport/overload/known-networks.ts";
import { TurnWatch } from "../transport/overload/turn-watch.ts";
import { createPort, type Port } from "../transport/port/port.ts";
import { createConnectHandler } from "../transport/router/connect-adapter.ts";
import { deadlineInterceptor } from "../transport/router/deadline.ts";
import { streamErrorInterceptor } from "../transport/router/router-errors.ts";
import { createHealth, type Health } from "../transport/services/health.ts";
import { createMetricsHandler, type MetricsText } from "../transport/services/metrics-handler.ts";
import { createProbes } from "../transport/services/probes.ts";
import { createReflection } from "../transport/services/reflection.ts";
import type { AgentReports } from "../usage/agent-reports.ts";
import type { MeteredVerifier } from "../usage/metered-verifier.ts";
import type { ServerConfig } from "./config/config.ts";
import { portLimits } from "./config/port-limits.ts";
import type { ServerLog } from "./observe/logger.ts";
import { Outage } from "./observe/outage.ts";
import { readinessOf } from "./observe/ready-causes.ts";
import type { Certificate } from "./open/certificate.ts";
import type { OpenGateways } from "./open/open-gateways.ts";
import type { OpenRevocation } from "./open/open-revocation.ts";
import type { OpenStorage } from "./open/open-storage.ts";

/** Questions of one stream that are worked on at once: as many as calls on a connection. */
const SYNC_ASKS = 128;
/** Messages of one stream that wait to be read. */
const SYNC_WAITING = 2000;

/** The open resources that everything is built from. */
export interface Parts extends ServerLog {
  readonly config: ServerConfig;
  readonly opened: OpenStorage;
}

/** The parts of management that create keys, with or without a server around them. */
export function createManageDeps({ config, opened, log }: Omit<Parts, "callLines">): Omit<ManageDeps, "revoker"> {
  const { policy } = config;
  const keyring = new Keyring({ roots: opened.roots, brand: policy.manage.brand });
  const pageTokens = new PageTokens(keyring.pageTokenKeys);
  const signer = new AuditSigner(opened.roots, opened.keptRoots.vouched);
  const canLimit = config.redis !== undefined || config.storage.kind === "embedded";
  const { storage } = opened;
  const seal = createSealer({ storage, signer, log });
  return {
    storage,
    seal,
    keyring,
    pageTokens,
    signer,
    random: systemRandom,
    canLimit,
    policy: managePolicy(policy),
    log,
  };
}

/** The parts that decide about callers, and from memory. */
export interface Gates {
  readonly deps: ManageDeps;
  readonly revocation: OpenRevocation;
  /** Verifies, charges and counts. */
  readonly verifier: MeteredVerifier;
  readonly reports: AgentReports;
  readonly metrics: MetricsText;
  /** Whether Redis can be used, by purpose; empty without Redis. */
  readonly redis: { readonly up: ReadonlyMap<string, boolean> };
  /** Called after each call. */
  readonly onCall: (method: string, code: string, durationMs: number) => void;
  readonly users: AuthenticateOptions["users"];
  readonly feature: FeatureFlag;
  /** Default: cleartext. */
  readonly certificate: Certificate | undefined;
  readonly gateways: Pick<OpenGateways, "policies" | "declared">;
}

/** The one port with all services behind it; nothing listens yet. */
export function compose(parts: Parts & Gates): {
  readonly port: Port;
  /** The second port, for gateways, if there is one. */
  readonly gatewayPort: Port | undefined;
  readonly health: Health;
  readonly sync: SyncStreams;
  readonly denials: Denials;
} {
  const { config, log, callLines, users, feature, revocation, verifier, metrics, deps } = parts;
  const { policy } = config;
  const callLog = new CallLog({ ...callLines, clocks: systemClocks, onCall: parts.onCall });
  const inTurn = createInTurn(deps, createBulkhead(config));
  const auditing = new Outage({
    ...{ log, event: "audit" },
    failing: "denials could not be written to the audit log; each is logged instead",
    well: "denials are written to the audit log again",
  });
  const denials = new Denials({
    write: (caller, denial) =>
      recordDenial(inTurn({ caller, about: "", lane: "ordinary", isDenial: true }), caller, denial),
    ...{ log, monotonicMs },
    onFailure: (error) => auditing.failed(error),
    onWritten: () => auditing.succeeded(),
  });
  const calls = { log, callLog, recordDenial: denials.record };
  const health = createHealth({
    services: [KeyVerifier.typeName, KeyManagement.typeName],
    // It goes on SERVING: reads work, all nodes share the database, and only changes that are tried show its recovery.
    reasonOf: (service) => (service === KeyManagement.typeName ? parts.opened.noWrites.reason() : undefined),
  });

  const known = new KnownNetworks(monotonicMs);
  const gate = new Gate({
    ...calls,
    onCredential: (address) => known.note(address),
    verifier,
    users,
    keyring: deps.keyring,
    random: systemRandom,
    verifyAccess: config.verifyAccess,
  });
  const validate = createValidate();
  const router = createConnectRouter({
    requestGate: createRequestGate(gate, revocation.epoch),
    // Outermost first. Off comes before invalid.
    interceptors: [
      traceInterceptor,
      createCallInterceptor(calls),
      deadlineInterceptor,
      streamErrorInterceptor,
      createFeatureInterceptor(inTurn, feature),
      createValidateInterceptor(validate),
    ],
    readMaxBytes: policy.port.maxMessageBytes,
    acceptCompression: [compressionGzip],
    // Requests may be compressed; responses are not, since an error must stay readable on its way out.
    compressMinBytes: Number.MAX_SAFE_INTEGER,
  });
  // By default Connect ignores unknown JSON fields. Health and reflection keep that tolerance.
  const strict = { jsonOptions: { ignoreUnknownFields: false } };
  const sync = new SyncStreams({
    ...{ gate, verifier, validate, log, callLog, clocks: systemClocks, timers: systemTimers, reports: parts.reports },
    ...{ leftMs: (known) => revocation.cache.leftMs(known), attach: revocation.attach, closeMs: policy.sync.closeMs },
    ...{ mostStreams: policy.sync.streams, mostWaiting: SYNC_WAITING, mostAsks: SYNC_ASKS },
    mostTurnMs: policy.sync.maxTurnMs,
  });
  const self = () => ({ epoch: revocation.epoch, agents: sync.agents() });
  router.service(KeyManagement, createKeyManagement({ inTurn, rates: createRates(config), log, self }), strict);
  router.service(KeyVerifier, createKeyVerifier(verifier, sync.serve.bind(sync)), strict);
  const { declared, policies } = parts.gateways;
  const gatewayDeps = {
    ...{ gate, verifier, callLog, declared, policies, trustedHops: config.trustedHops },
    usageMethods: new UsageMethods(declared),
    present: (error: unknown, requestId: string) => presentError(error, log, requestId),
  };
  const check = new CheckCall(gatewayDeps);
  router.service(Authorization, check.service);
  health.routes(router);
  if (config.reflection) createReflection({ services: [KeyManagement, KeyVerifier, HealthService] }).routes(router);

  const onError = (error: unknown) => log.warn({ err: error }, "connection failed");
  const peers = new Peers();
  const { maxTurnMs, maxRoutedTurnMs, ...bursts } = policy.overload;
  const turns = {
    ...bursts,
    mostTurnMs: maxTurnMs,
    monotonicMs,
    addressOf: (connection: object) => peers.of(connection).network,
    isKnown: (network: string) => known.has(network),
  };
  const [calling, probing] = [new TurnWatch(turns), new TurnWatch(turns)];
  const onDefect = (error: unknown) =>
    log.error({ err: error }, "internal error on the direct path; its call ended as INTERNAL");
  const door = new Door({
    router,
    isOverloaded: (connection, isRouted) => calling.isOver(connection, isRouted ? maxRoutedTurnMs : maxTurnMs),
    isDirect: (head) => (head.path === method.path || head.path === check.path) && factsOf(head).isPlain,
    isOverloadedByHealth: (connection) => probing.isOver(connection),
    enter: (call, askedId) => gate.enter(call, askedId),
    onRefused: (method, call) => callLog.overloaded(method, call),
  });
  const handler = createConnectHandler({
    ...{ router, ...policy.port, onError },
    onUnseen: (method, call, error) => callLog.refused(method, call, error),
  });
  const readiness = () =>
    readinessOf({
      isDraining: !health.isServing(""),
      canRead: health.isServing(KeyVerifier.typeName),
      canManage: health.isServing(KeyManagement.typeName),
      lease: revocation.keeper.state,
      canConfirm: revocation.canConfirm(),
      redis: parts.redis.up,
    });
  const isKnownGateway = () => config.verifyAccess === "open";
  const gatewayHandler = createGatewayHandler({ ...gatewayDeps, isKnownGateway, onDefect }, handler);
  const serve = createProbes(readiness, createMetricsHandler(metrics, gatewayHandler));
  const method = new VerifyCall({
    ...{ gate, verifier, callLog, log },
    validate: (request) => validate(VerifyRequestSchema, request),
  });
  const dispatch = createDispatch({
    ...{ ...policy.port, unary: [method, check], sync, serve, peers, onDefect },
    mostWaitingBytes: policy.sync.waitingBytes,
  });
  const shared = { tls: parts.certificate?.door, onError, limits: portLimits(policy.port) };
  const port = createPort({
    ...{ ...config.listen, ...shared, handler: door.requests(serve) },
    streams: door.streams(dispatch),
  });
  const nothingElse = createConnectHandler({ router: createConnectRouter(), ...policy.port, onError });
  const onlyGateways = createGatewayHandler({ ...gatewayDeps, isKnownGateway: () => true, onDefect }, nothingElse);
  const gatewayPort =
    config.authzListen && createPort({ ...config.authzListen, ...shared, handler: door.requests(onlyGateways) });
  return { port, gatewayPort, health, sync, denials };
}

function createBulkhead({ storage, policy }: ServerConfig): Bulkhead {
  const connections = storage.kind === "postgres" ? policy.postgres.poolSize : 1;
  return new Bulkhead({ connections, monotonicMs, waitMs: policy.postgres.storageTimeoutMs });
}

/** The numbers of other rooms that management obeys too. */
function managePolicy({ manage, revocation, usage }: ServerConfig["policy"]): ManagePolicy {
  const { minutesMs: usageMinutesMs, hoursMs: usageHoursMs, points: usagePoints } = usage;
  return { ...manage, leaseMs: revocation.leaseMs, usageMinutesMs, usageHoursMs, usagePoints };
}

function createRates({ policy }: ServerConfig): CallerRates {
  const { userChangesPerHour, userChangeBurst, serviceChangesPerHour, serviceChangeBurst } = policy.manage;
  return new CallerRates({
    users: { perHour: userChangesPerHour, burst: userChangeBurst },
    others: { perHour: serviceChangesPerHour, burst: serviceChangeBurst },
    monotonicMs,
  });
}
