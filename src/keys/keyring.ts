import { createHmac, timingSafeEqual } from "node:crypto";
import { crc32 } from "node:zlib";
import { decodeBase62, encodeBase62 } from "./base62.ts";
import type { Environment } from "./key.ts";
import type { Random } from "./random.ts";
import type { RootKeys } from "./root-secret.ts";
import { Secret } from "./secret.ts";

const RANDOM_BYTES = 24;
const TAG_BYTES = 8;
const BODY_BYTES = RANDOM_BYTES + TAG_BYTES;
const BODY_CHARACTERS = 43;
const CRC_CHARACTERS = 6;
const RFC8959_PREFIX = "secret-token:";

/** What is stored of a new secret, and the secret to show once. */
export interface MintedSecret {
  readonly secret: Secret;
  /** HMAC-SHA-256(pepper, secret), 32 bytes. */
  readonly digest: Buffer;
  readonly rootId: string;
  /** Prefix, `…` and the last four characters. */
  readonly hint: string;
}

/** What a presented secret is, judged without I/O. `forged`: well-formed, and not made by any of our roots. */
export type Recognition =
  | { readonly kind: "malformed" }
  | { readonly kind: "forged" }
  | { readonly kind: "genuine"; readonly digest: Buffer };

export interface KeyringOptions {
  /** Newest first; at least one. New secrets are minted under one of them, presented ones are tried against each. */
  readonly roots: readonly [RootKeys, ...RootKeys[]];
  /** Begins every secret: `clv` gives `clv_live_…`. */
  readonly brand: string;
}

/**
 * Makes and recognises secrets: `clv_live_` or `clv_test_`, 43 base62 characters (24 random bytes and an 8-byte keyed
 * tag), 6 base62 characters of CRC-32 over everything before.
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

  /** Makes a secret under the newest root that every one of `otherNodes`, each a list of root ids, knows too. */
  mint(environment: Environment, random: Random, otherNodes: readonly (readonly string[])[]): MintedSecret {
    const root = this.#roots.find((own) => otherNodes.every((known) => known.includes(own.id))) ?? this.#roots[0];
    const prefix = this.#prefix(environment);
    const chance = random(RANDOM_BYTES);
    const body = Buffer.concat([chance, tag(root, prefix, chance)]);
    const checked = prefix + encodeBase62(body, BODY_CHARACTERS);
    const text = checked + checksum(checked);
    return {
      secret: new Secret(text),
      digest: digest(root, text),
      rootId: root.id,
      hint: `${prefix}…${text.slice(-4)}`,
    };
  }

  /** Checks cheapest first: length and alphabet, CRC (a typo), keyed tag (a forgery). */
  recognise(presented: string): Recognition {
    const text = presented.startsWith(RFC8959_PREFIX) ? presented.slice(RFC8959_PREFIX.length) : presented;
    const prefix = [this.#prefix("live"), this.#prefix("test")].find((known) => text.startsWith(known));
    if (prefix === undefined || text.length !== prefix.length + BODY_CHARACTERS + CRC_CHARACTERS) {
      return { kind: "malformed" };
    }
    const checked = text.slice(0, -CRC_CHARACTERS);
    if (!/^[0-9A-Za-z]+$/.test(text.slice(prefix.length)) || checksum(checked) !== text.slice(-CRC_CHARACTERS)) {
      return { kind: "malformed" };
    }
    // 62^43 > 2^256: without this bound one secret would have two spellings.
    const body = decodeBase62(checked.slice(prefix.length), BODY_BYTES);
    if (body === undefined) return { kind: "malformed" };
    const chance = body.subarray(0, RANDOM_BYTES);
    const shown = body.subarray(RANDOM_BYTES);
    const root = this.#roots.find((candidate) => timingSafeEqual(tag(candidate, prefix, chance), shown));
    return root === undefined ? { kind: "forged" } : { kind: "genuine", digest: digest(root, text) };
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

function checksum(text: string): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc32(text));
  return encodeBase62(bytes, CRC_CHARACTERS);
}
