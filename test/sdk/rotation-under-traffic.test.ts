import { mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { BatchVerifyRequestSchema, BatchVerifyResponseSchema, KeyVerifier } from "#gen/claviger/v1/key_verifier_pb.js";
import { fromFile, type KeyFile, type KeySource } from "../../src/sdk/attach/key-source.ts";
import { attachKey as attachToConnect } from "../../src/sdk/connect/index.ts";
import { attachKey as attachToGrpcJs } from "../../src/sdk/grpc-js/index.ts";
import { startClaviger, type TestClaviger } from "../../testkit/claviger.ts";
import { eventually } from "../../testkit/eventually.ts";
import { makeKey } from "../rpc/make-key.ts";
import { verdictOf } from "../rpc/verdict-of.ts";

/** A service that calls Claviger with its key. */
interface Caller {
  call(): Promise<unknown>;
  close(): void;
}

const QUIET = { onRetiring: () => undefined };
const QUESTION = { requests: [{ secret: "clv_live_nothing" }] };

function callOverConnect(url: string, source: KeySource): Caller {
  const transport = createGrpcTransport({ baseUrl: url, interceptors: [attachToConnect(source, QUIET)] });
  const client = createClient(KeyVerifier, transport);
  return { call: () => client.batchVerify(QUESTION), close: () => undefined };
}

function callOverGrpcJs(url: string, source: KeySource): Caller {
  const interceptors = [attachToGrpcJs(source, QUIET)];
  const client = new Client(new URL(url).host, credentials.createInsecure(), { interceptors });
  const request = create(BatchVerifyRequestSchema, QUESTION);
  const call = () =>
    new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        "/claviger.v1.KeyVerifier/BatchVerify",
        (message: typeof request) => Buffer.from(toBinary(BatchVerifyRequestSchema, message)),
        (bytes: Buffer) => fromBinary(BatchVerifyResponseSchema, bytes),
        request,
        new Metadata(),
        (error, answer) => (error === null ? resolve(answer) : reject(error)),
      );
    });
  return { call, close: () => client.close() };
}

const STACKS: [name: string, open: (url: string, source: KeySource) => Caller][] = [
  ["Connect", callOverConnect],
  ["grpc-js", callOverGrpcJs],
];

const NEVER_MS = 1_000_000;
const PERIODS: [when: string, everyMs: number][] = [
  ["often", 20],
  ["only when it is refused", NEVER_MS],
];

/** Calls without a break, several at once, until stopped. */
class Traffic {
  calls = 0;
  readonly failures: unknown[] = [];
  readonly #caller: Caller;
  #isStopped = false;
  #lanes: Promise<void>[] = [];

  constructor(caller: Caller) {
    this.#caller = caller;
    this.resume();
  }

  resume(): void {
    this.#isStopped = false;
    this.#lanes = Array.from({ length: 4 }, () => this.#run());
  }

  /** Resolves once no call is under way. */
  async pause(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#lanes);
  }

  async stop(): Promise<void> {
    await this.pause();
    this.#caller.close();
  }

  /** Lets so many calls more end. */
  async pass(calls: number): Promise<void> {
    const end = this.calls + calls;
    await eventually(() => expect(this.calls).toBeGreaterThanOrEqual(end), { everyMs: 1 });
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      await this.#caller.call().catch((error: unknown) => this.failures.push(error));
      this.calls++;
    }
  }
}

let claviger: TestClaviger;
beforeAll(async () => {
  claviger = await startClaviger("embedded");
});
afterAll(() => claviger.close());

describe.each(STACKS)("a service that calls over %s with the key in a watched file", (stack, open) => {
  let folder: string;
  let path: string;
  let keyId: string;
  let version: number;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "claviger-rotation-"));
    path = join(folder, "key");
    const { id, secret } = await makeKey(claviger.admin, { owner: `rotation-${stack}`, scopes: ["claviger:verify"] });
    keyId = id;
    version = 1;
    await writeFile(path, secret);
    return () => rm(folder, { recursive: true });
  });

  function watch(everyMs: number): KeyFile {
    const file = fromFile(path, { everyMs });
    onTestFinished(() => file.close());
    return file;
  }

  /** A new secret; the old one ends after the grace. */
  async function rotate(graceMs: number): Promise<string> {
    const gracePeriod = durationFromMs(graceMs);
    version++;
    return (await claviger.admin.keys.rotateKey({ keyId, gracePeriod })).secret;
  }

  async function endOldSecret(): Promise<void> {
    await claviger.admin.keys.retireSecret({ keyId, version: version - 1 });
  }

  async function replaceByRename(secret: string): Promise<void> {
    await writeFile(`${path}.new`, secret);
    await rename(`${path}.new`, path);
  }

  const WAYS: [way: string, replace: (secret: string) => Promise<void>][] = [
    ["by a rename", replaceByRename],
    ["in place", (secret) => writeFile(path, secret)],
    [
      "in two halves",
      async (secret) => {
        await writeFile(path, secret.slice(0, 30));
        await writeFile(path, secret.slice(30), { flag: "a" });
      },
    ],
    [
      "by removing and creating it again",
      async (secret) => {
        await rm(path);
        await writeFile(path, secret);
      },
    ],
  ];

  it.each(PERIODS)("has no failed call, however the file is replaced, if it reads %s", async (_, everyMs) => {
    const file = watch(everyMs);
    const traffic = new Traffic(open(claviger.url, file));
    for (const [, replace] of WAYS) {
      await traffic.pass(20);
      await replace(await rotate(60_000));
      await endOldSecret();
    }
    // A grace that runs out by itself.
    const old = await readFile(path, "utf8");
    await replaceByRename(await rotate(1000));
    await eventually(async () => expect(await verdictOf(claviger.admin, old)).toBe("RETIRED"));
    await traffic.pass(20);
    // The old secret is dead before the new one is in the file: whoever calls meanwhile must fail, so nobody does.
    await traffic.pause();
    await replaceByRename(await rotate(0));
    traffic.resume();
    await traffic.pass(20);
    await traffic.stop();
    expect(traffic.failures).toEqual([]);
    expect(traffic.calls).toBeGreaterThan(120);
  });

  it("control: without another read after a refusal, calls fail", async () => {
    const file = watch(NEVER_MS);
    const traffic = new Traffic(open(claviger.url, async () => (await file.current()).reveal()));
    await traffic.pass(20);
    await replaceByRename(await rotate(60_000));
    await endOldSecret();
    await traffic.pass(20);
    await traffic.stop();
    expect(traffic.failures.length).toBeGreaterThan(0);
    for (const error of traffic.failures) expect(error).toMatchObject({ code: Code.Unauthenticated });
  });
});
