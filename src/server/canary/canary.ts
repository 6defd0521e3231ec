/** The operations of the canary on a cluster. Each rejects when it could not be done. */
export interface CanaryPorts {
  create(): Promise<{ readonly keyId: string; readonly secret: string }>;
  /** Resolves once the key is revoked and the promise holds for it. Is repeated after a failure. */
  revoke(keyId: string): Promise<void>;
  /** Verifies on one node; whether it said `VALID`. */
  isAccepted(node: string, secret: string): Promise<boolean>;
  readonly monotonicMs: () => number;
}

/** The result of one round. Durations in milliseconds. */
export interface CanaryRound {
  readonly createMs: number;
  /** Until every node had answered, or failed to, before the key was revoked. */
  readonly verifyMs: number;
  readonly revokeMs: number;
  readonly nodes: readonly string[];
  /** Nodes that answered both times. */
  readonly reached: readonly string[];
  /** Nodes that accepted the key after it was revoked. */
  readonly stillAccepting: readonly string[];
  /** Nodes that could not be asked, or did not know the key before it was revoked. */
  readonly undecided: readonly string[];
  /** For each node that could not be asked, what its last call failed with. */
  readonly failures: ReadonlyMap<string, unknown>;
}

/** The answer of a node about the key, or the reason why there is none. A failure is never an acceptance. */
type Answer = { readonly accepted: boolean } | { readonly error: unknown };

/** Creates a key, verifies it on every node, revokes it, and verifies it again at once: the promise, tried for real. */
export class Canary {
  readonly #ports: CanaryPorts;
  /** Keys of rounds that failed midway. */
  readonly #unrevoked = new Set<string>();
  /** Rounds that were begun and have ended, with whatever outcome. */
  rounds = 0;
  /** Rounds that failed, and rounds in which some node could not be asked. */
  undecided = 0;
  /** Must stay 0. */
  revokedButAccepted = 0;

  constructor(ports: CanaryPorts) {
    this.#ports = ports;
  }

  /**
   * Rejects if there was no node or no key to try, or the key could not be revoked; then nothing was found out.
   *
   * @param listed the nodes; a list that cannot be read is a failed round
   */
  async round(listed: readonly string[] | Promise<readonly string[]>): Promise<CanaryRound> {
    try {
      const nodes = await listed;
      if (nodes.length === 0) throw new Error("there is no node to verify on: start one, or name it");
      await this.revokeLeft();
      const round = await this.#try(nodes);
      this.revokedButAccepted += round.stillAccepting.length;
      if (round.undecided.length > 0) this.undecided += 1;
      return round;
    } catch (error) {
      this.undecided += 1;
      throw error;
    } finally {
      this.rounds += 1;
    }
  }

  /** Tries once more to revoke what failed rounds have left; never rejects. To be called after the last round, too. */
  async revokeLeft(): Promise<void> {
    await Promise.allSettled([...this.#unrevoked].map((keyId) => this.#revoke(keyId)));
  }

  async #try(nodes: readonly string[]): Promise<CanaryRound> {
    const { create, monotonicMs } = this.#ports;
    const beganMs = monotonicMs();
    const { keyId, secret } = await create();
    this.#unrevoked.add(keyId);
    const createdMs = monotonicMs();
    const before = await this.#ask(nodes, secret);
    const verifiedMs = monotonicMs();
    // An answer that was lost leaves open whether the key is revoked; a second OK settles it.
    await this.#revoke(keyId).catch(() => this.#revoke(keyId));
    const revokedMs = monotonicMs();
    const after = await this.#ask(nodes, secret);
    return {
      createMs: createdMs - beganMs,
      verifyMs: verifiedMs - createdMs,
      revokeMs: revokedMs - verifiedMs,
      nodes,
      ...judge(nodes, before, after),
    };
  }

  async #revoke(keyId: string): Promise<void> {
    await this.#ports.revoke(keyId);
    this.#unrevoked.delete(keyId);
  }

  async #ask(nodes: readonly string[], secret: string): Promise<ReadonlyMap<string, Answer>> {
    const ask = async (node: string): Promise<[string, Answer]> => {
      try {
        return [node, { accepted: await this.#ports.isAccepted(node, secret) }];
      } catch (error) {
        return [node, { error }];
      }
    };
    return new Map(await Promise.all(nodes.map(ask)));
  }
}

function judge(nodes: readonly string[], before: ReadonlyMap<string, Answer>, after: ReadonlyMap<string, Answer>) {
  const accepts = (answers: ReadonlyMap<string, Answer>, node: string) => {
    const answer = answers.get(node);
    return answer !== undefined && "accepted" in answer ? answer.accepted : undefined;
  };
  const failures = new Map<string, unknown>();
  for (const answers of [before, after]) {
    for (const [node, answer] of answers) if ("error" in answer) failures.set(node, answer.error);
  }
  return {
    reached: nodes.filter((node) => !failures.has(node)),
    stillAccepting: nodes.filter((node) => accepts(after, node) === true),
    undecided: nodes.filter((node) => failures.has(node) || accepts(before, node) !== true),
    failures,
  };
}
