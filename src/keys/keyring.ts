import { createHmac, timingSafeEqual } from "node:crypto";
import type { Random } from "../system/clocks.ts";
import type { Environment } from "./key.ts";
import type { RootKeys } from "./root-secret.ts";
import { Secret } from "./secret.ts";
import { readSecretForm, type SecretForm, writeSecretForm } from "./secret-form.ts";

const RANDOM_BYTES = 24;
const TAG_BYTES = 8;

/** The stored part of a new secret, and the secret to show once. */
export interface MintedSecret {
  readonly secret: Secret;
  /** HMAC-SHA-256(pepper, secret), 32 bytes. */
  readonly digest: Buffer;
  readonly rootId: string;
  /** Prefix, `…` and the last four characters. */
  readonly hint: string;
}

/** The class of a presented secret, judged without I/O. `forged`: well-formed, but made by none of these roots. */
export type Recognition =
  | { readonly kind: "malformed" }
  | { readonly kind: "forged" }
  | { readonly kind: "genuine"; readonly digest: Buffer };

export interface KeyringOptions {
  /** Newest first; at least one. New secrets are minted under one of them; presented secrets are tried against each. */
  readonly roots: readonly [RootKeys, ...RootKeys[]];
  /** First part of every secret: `clv` gives `clv_live_…`. */
  readonly brand: string;
}

/**
 * Makes and recognises secrets: `clv_live_` or `clv_test_`, 43 base62 characters (24 random bytes and an 8-byte keyed
 * tag), 6 base62 characters of CRC-32 over all preceding characters.
 */
export class Keyring {
  readonly #roots: KeyringOptions["roots"];
  readonly #brand: string;

  constructor(options: KeyringOptions) {
    this.#roots = options.roots;
    this.#brand = options.brand;
  }

  get rootIds(): readonly string[] {
    return this.#roots.map((root) => root.id);
  }

  /** Keys for page tokens, newest first. */
  get pageTokenKeys(): readonly [Buffer, ...Buffer[]] {
    const [newest, ...older] = this.#roots;
    return [newest.pageTokenKey, ...older.map((root) => root.pageTokenKey)];
  }

  /** Keys for messages on the change bus, newest first. */
  get busKeys(): readonly [Buffer, ...Buffer[]] {
    const [newest, ...older] = this.#roots;
    return [newest.busKey, ...older.map((root) => root.busKey)];
  }

  /** Makes a secret under the newest root that all of `otherNodes` know too. Each node is a list of root ids. */
  mint(environment: Environment, random: Random, otherNodes: readonly (readonly string[])[]): MintedSecret {
    const root = this.#roots.find((own) => otherNodes.every((known) => known.includes(own.id))) ?? this.#roots[0];
    const prefix = this.#prefix(environment);
    const chance = random(RANDOM_BYTES);
    const text = writeSecretForm(prefix, Buffer.concat([chance, tag(root, prefix, chance)]));
    return {
      secret: new Secret(text),
      digest: digest(root, text),
      rootId: root.id,
      hint: `${prefix}…${text.slice(-4)}`,
    };
  }

  /** Checks the cheapest property first: brand, length and alphabet, CRC (a typo), keyed tag (a forgery). */
  recognise(presented: string): Recognition {
    const form = readSecretForm(presented);
    if (form === undefined || !this.#isOwn(form)) return { kind: "malformed" };
    const { prefix, text, body } = form;
    const chance = body.subarray(0, RANDOM_BYTES);
    const shown = body.subarray(RANDOM_BYTES);
    const root = this.#roots.find((candidate) => timingSafeEqual(tag(candidate, prefix, chance), shown));
    return root === undefined ? { kind: "forged" } : { kind: "genuine", digest: digest(root, text) };
  }

  #isOwn({ prefix }: SecretForm): boolean {
    return prefix === this.#prefix("live") || prefix === this.#prefix("test");
  }

  #prefix(environment: Environment): string {
    return `${this.#brand}_${environment}_`;
  }
}

function tag(root: RootKeys, prefix: string, chance: Uint8Array): Buffer {
  return createHmac("sha256", root.tagKey).update(prefix, "ascii").update(chance).digest().subarray(0, TAG_BYTES);
}

function digest(root: RootKeys, text: string): Buffer {
  return createHmac("sha256", root.pepper).update(text, "ascii").digest();
}
