import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { anyPack, durationFromMs, type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectError } from "@connectrpc/connect";
import {
  type Ask,
  type SyncRequest,
  SyncRequestSchema,
  type SyncResponse,
  SyncResponseSchema,
  type UsageDelta as UsageDeltaMessage,
  UsageOutcome,
  type UsageReport,
  VerifyRequestSchema,
} from "#gen/claviger/v1/key_verifier_pb.js";
import type { CachedSecret } from "../../keys/cached-secret.ts";
import { ClavigerError, invalidField, invalidFields } from "../../keys/errors.ts";
import type { UsageDelta } from "../../keys/usage-delta.ts";
import type { Agent, ChildLease, ChildStream } from "../../revocation/child-lease.ts";
import { isTraced } from "../../system/tracing.ts";
import type { AgentReports } from "../../usage/agent-reports.ts";
import type { Asker, Metered, MeteredVerifier } from "../../usage/metered-verifier.ts";
import { storableMethod } from "../../usage/recorder.ts";
import { isPlainQuestion } from "../../wire/question.ts";
import { VERDICTS, verdictName } from "../../wire/verdicts.ts";
import { toResponse } from "../codec/encode-verification.ts";
import type { AgentStatus } from "../codec/nodes-to-proto.ts";
import { toCommand } from "../key-verifier.ts";
import { traceAsk } from "../trace-interceptor.ts";
import { unsoundFields } from "../unsound-fields.ts";
import type { Validate } from "../validate.ts";

/** The parts that all streams of `Sync` share. */
export interface SyncParts {
  readonly verifier: Pick<MeteredVerifier, "verifyCached" | "verify">;
  /** Milliseconds for which an agent may keep the entry that it gets now; 0 if it may not keep it. */
  readonly leftMs: (known: CachedSecret) => number;
  readonly reports: Pick<AgentReports, "proofFor" | "take">;
  /** Throws `INVALID_FIELD` for a message that breaks a rule of its proto. */
  readonly validate: Validate;
  /** Messages of one stream that are worked on at once; questions and reports beyond it are refused. */
  readonly mostAsks: number;
  /** Joins the holder of a stream to those who lease from this process. */
  readonly attach: (stream: ChildStream, agent: Agent) => ChildLease;
}

export interface SyncSessionOptions extends SyncParts {
  readonly asker: Asker;
  readonly agent: Agent;
  /** When the secret ends that the caller presents; undefined for a caller without a key. */
  readonly credentialEnd: () => Timestamp | undefined;
  /** Whether the caller still is who may call; rejects with the refusal, in its wire form, if not, or if it is not known. */
  readonly admit: () => Promise<void> | undefined;
  /** Says it after everything before; it is dropped once the stream has ended. */
  readonly send: (message: SyncResponse) => void;
  /** Ends the stream, after everything that was sent. */
  readonly end: (error?: ConnectError) => void;
  /** The wire form of whatever was thrown. */
  readonly present: (error: unknown) => ConnectError;
}

type Said = NonNullable<MessageInitShape<typeof SyncResponseSchema>["message"]>;

/** The server's side of one stream of `Sync`: what comes is handled in order, each before the next. */
export class SyncSession {
  readonly #options: SyncSessionOptions;
  readonly #child: ChildLease;
  #underWay = 0;
  #isFinishing = false;

  constructor(options: SyncSessionOptions) {
    this.#options = options;
    const stream: ChildStream = {
      granted: ({ nonce, remainingMs, revision }) => {
        const remaining = durationFromMs(Math.floor(remainingMs));
        const credentialExpireTime = options.credentialEnd();
        const end = credentialExpireTime && { credentialExpireTime };
        this.#say({ case: "lease", value: { nonce, remaining, revision: BigInt(revision), ...end } });
      },
      changed: ({ sequence, keyIds }) => {
        const which = keyIds === "all" ? { allKeys: true } : { keyIds: [...keyIds] };
        this.#say({ case: "change", value: { sequence: BigInt(sequence), ...which } });
      },
    };
    this.#child = options.attach(stream, options.agent);
  }

  /** The client, for operators. */
  get agent(): Omit<AgentStatus, "attachedMs"> {
    const { pendingChanges } = this.#child;
    return { ...this.#options.agent, isLeased: this.#child.isLeased(), pendingChanges };
  }

  handle(request: SyncRequest): void {
    const { message } = request;
    if (message.case === "ask") void this.#ask(request, message.value);
    else if (message.case === "usage") void this.#take(request, message.value);
    else if (this.#isRefused(request)) return;
    else if (message.case === "lease") void this.#grant(message.value.nonce);
    else if (message.case === "applied") this.#child.acknowledge(Number(message.value.sequence));
    else if (message.case === "giveBack") this.#giveBack();
    else this.#options.end(this.#options.present(invalidField("message", "is required")));
  }

  /** The client has said its last: what it asked is answered, then the stream ends. */
  finish(): void {
    this.#isFinishing = true;
    this.#endOnceDone();
  }

  /** The server stops. */
  sayClosing(): void {
    this.#say({ case: "closing", value: {} });
  }

  /** The stream is gone; what was granted may run on. */
  close(): void {
    this.#child.close();
  }

  /** A message with fields that this server does not know ends the stream; for an `Ask` the answer says so. */
  #isRefused(request: SyncRequest): boolean {
    const violations = unsoundFields(SyncRequestSchema, request);
    if (violations.length > 0) this.#options.end(this.#present(invalidFields(violations)));
    return violations.length > 0;
  }

  async #grant(nonce: bigint): Promise<void> {
    this.#begin();
    try {
      const admission = this.#options.admit();
      if (admission !== undefined) await admission;
      this.#child.grant(nonce);
    } catch (error) {
      this.#unlessRefused(error, () => this.#say({ case: "lease", value: { nonce, remaining: durationFromMs(0) } }));
    } finally {
      this.#done();
    }
  }

  #giveBack(): void {
    this.#child.giveBack();
    this.#options.end();
  }

  async #ask(whole: SyncRequest, ask: Ask): Promise<void> {
    const { id, request } = ask;
    const { verifier, asker, admit, validate } = this.#options;
    this.#begin();
    try {
      this.#refuseTooMany();
      if (request === undefined) throw invalidField("ask.request", "is required");
      const admission = admit();
      if (admission !== undefined) await admission;
      const isKnown = [whole, ask, request].every(({ $unknown }) => $unknown === undefined);
      if (!isKnown) validate(SyncRequestSchema, whole);
      if (!isPlainQuestion(request)) validate(VerifyRequestSchema, request);
      const command = toCommand(request);
      const verify = () => verifier.verify(command, asker);
      const metered = isTraced(ask.traceparent)
        ? await traceAsk(ask.traceparent, verify)
        : (verifier.verifyCached(command, asker) ?? (await verify()));
      this.#answer(id, metered);
    } catch (error) {
      this.#unlessRefused(error, ({ code, rawMessage: message, details }) => {
        const packed = details.flatMap((detail) =>
          "desc" in detail ? [anyPack(detail.desc, create(detail.desc, detail.value))] : [],
        );
        const result = { case: "refusal" as const, value: { code, message, details: packed } };
        this.#say({ case: "answer", value: { id, result } });
      });
    } finally {
      this.#done();
    }
  }

  /** Runs synchronously, so that the entry sent is current and every later change is announced to this stream. */
  #answer(id: bigint, metered: Metered): void {
    const result = { case: "response" as const, value: toResponse(metered) };
    const { found } = metered;
    const leftMs = found === undefined || found.limits !== null ? 0 : Math.floor(this.#options.leftMs(found));
    if (found === undefined || leftMs === 0) {
      this.#say({ case: "answer", value: { id, result } });
      return;
    }
    this.#child.lookedUp(found.keyId);
    const { reports, asker } = this.#options;
    const { standing, allowedCidrs } = found;
    const kept = { standing: VERDICTS[standing], allowedCidrs: [...allowedCidrs], freshFor: durationFromMs(leftMs) };
    const usageProof = reports.proofFor(asker.callerId, found);
    this.#say({ case: "answer", value: { id, result, entry: { ...kept, usageProof } } });
  }

  async #take(request: SyncRequest, { epoch, sequence, deltas }: UsageReport): Promise<void> {
    const { reports, admit, validate, asker } = this.#options;
    const answer = (outcome: UsageOutcome) => this.#say({ case: "usage", value: { sequence, outcome } });
    this.#begin();
    try {
      this.#refuseTooMany();
      await admit();
      validate(SyncRequestSchema, request);
      const report = { epoch, seq: Number(sequence), deltas: deltas.map(deltaFromProto) };
      answer(OUTCOMES[await reports.take(asker.callerId, report)]);
    } catch (error) {
      if (error instanceof ClavigerError && error.reason === "INVALID_FIELD") this.#options.end(this.#present(error));
      else this.#unlessRefused(error, () => answer(UsageOutcome.UNAVAILABLE));
    } finally {
      this.#done();
    }
  }

  /** Counts a message in progress; `#done` follows, whatever the outcome. */
  #begin(): void {
    this.#underWay += 1;
  }

  #done(): void {
    this.#underWay -= 1;
    this.#endOnceDone();
  }

  #refuseTooMany(): void {
    const { mostAsks } = this.#options;
    if (this.#underWay > mostAsks) throw overloaded(mostAsks);
  }

  #endOnceDone(): void {
    if (this.#isFinishing && this.#underWay === 0) this.#options.end();
  }

  /** A caller whose credential has died hears nothing more on this stream. */
  #unlessRefused(error: unknown, work: (error: ConnectError) => void): void {
    const presented = this.#present(error);
    if (presented.code === Code.Unauthenticated || presented.code === Code.PermissionDenied) {
      this.#options.end(presented);
    } else {
      work(presented);
    }
  }

  #present(error: unknown): ConnectError {
    return this.#options.present(error);
  }

  #say(message: Said): void {
    this.#options.send(create(SyncResponseSchema, { message }));
  }
}

const OUTCOMES = { taken: UsageOutcome.TAKEN, gap: UsageOutcome.GAP, unavailable: UsageOutcome.UNAVAILABLE } as const;

function deltaFromProto(delta: UsageDeltaMessage): UsageDelta {
  const { keyId, secretVersion: version, count, lastTime } = delta;
  // A verifier of another implementation may not have checked it.
  const method = storableMethod(delta.method);
  const lastSecond = Math.floor((lastTime === undefined ? 0 : timestampMs(lastTime)) / 1000);
  const verdict = verdictName(delta.verdict) ?? "valid";
  const minute = Math.floor(lastSecond / 60);
  const proof = Buffer.from(delta.usageProof).toString("latin1");
  return { keyId, callerId: "", version, verdict, method, minute, count, cost: Number(delta.cost), lastSecond, proof };
}

function overloaded(most: number): ClavigerError {
  return new ClavigerError(
    "OVERLOADED",
    `too many questions of this verifier in progress (limit ${most}). Retry shortly with lower concurrency`,
    { metadata: { limit: String(most) } },
  );
}
