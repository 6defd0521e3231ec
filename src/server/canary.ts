/** What the canary does to a cluster, and how it looks at it. Each rejects when that could not be done. */
export interface CanaryPorts {
  create(): Promise<{ readonly keyId: string; readonly secret: string }>;
  revoke(keyId: string): Promise<void>;
  /** Verifies on one node; whether it said `VALID`. */
  isAccepted(node: string, secret: string): Promise<boolean>;
  readonly monotonicMs: () => number;
}

/** What one round came to. Durations in milliseconds. */
export interface CanaryRound {
  readonly createMs: number;
  readonly revokeMs: number;
  /** Nodes that accepted the key after it was revoked. */
  readonly stillAccepting: readonly string[];
  /** Nodes that could not be asked, or did not know the key before it was revoked. */
  readonly undecided: readonly string[];
}

/** Creates a key, verifies it on every node, revokes it, and verifies it again at once: the promise, tried for real. */
export class Canary {
  readonly #ports: CanaryPorts;
  rounds = 0;
  /** Rounds in which some node could not be asked. */
  undecided = 0;
  /** Must stay 0. */
  revokedButAccepted = 0;

  constructor(ports: CanaryPorts) {
    this.#ports = ports;
  }

  /** Rejects if there was no key to try, or it could not be revoked; then nothing was found out. */
  async round(nodes: readonly string[]): Promise<CanaryRound> {
    const { create, revoke, monotonicMs } = this.#ports;
    const beganMs = monotonicMs();
    const { keyId, secret } = await create();
    const createdMs = monotonicMs();
    const before = await this.#ask(nodes, secret);
    const asked = monotonicMs();
    await revoke(keyId);
    const revokedMs = monotonicMs();
    const after = await this.#ask(nodes, secret);
    const stillAccepting = nodes.filter((_, index) => after[index] === true);
    const undecided = nodes.filter((_, index) => after[index] === undefined || before[index] !== true);
    this.rounds += 1;
    this.revokedButAccepted += stillAccepting.length;
    if (undecided.length > 0) this.undecided += 1;
    return { createMs: createdMs - beganMs, revokeMs: revokedMs - asked, stillAccepting, undecided };
  }

  #ask(nodes: readonly string[], secret: string): Promise<(boolean | undefined)[]> {
    return Promise.all(nodes.map((node) => this.#ports.isAccepted(node, secret).catch(() => undefined)));
  }
}
