import { createHmac, timingSafeEqual } from "node:crypto";

const MAC_CHARACTERS = 43;

/** Seals a message so that only holders of the key can create it: HMAC-SHA-256 in base64url, then the JSON. */
export function sealMessage(key: Buffer, message: unknown): string {
  const json = JSON.stringify(message);
  return macOf(key, json).toString("base64url") + json;
}

/** Opens a message that was sealed under one of the keys; undefined for any other text. */
export function openMessage(keys: readonly Buffer[], text: string): unknown {
  const mac = Buffer.from(text.slice(0, MAC_CHARACTERS), "base64url");
  const json = text.slice(MAC_CHARACTERS);
  const isGenuine = keys.some((key) => {
    const own = macOf(key, json);
    return own.length === mac.length && timingSafeEqual(own, mac);
  });
  return isGenuine ? JSON.parse(json) : undefined;
}

function macOf(key: Buffer, json: string): Buffer {
  return createHmac("sha256", key).update(json).digest();
}
