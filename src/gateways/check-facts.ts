import type { CheckRequest } from "#gen/envoy/service/auth/v3/external_auth_pb.js";
import { API_KEY, AUTHORIZATION } from "../wire/credential.ts";

/** The facts of a `CheckRequest` that a decision depends on. */
export interface CheckFacts {
  readonly method: string;
  readonly path: string;
  /** Every value, in order. */
  readonly authorization: readonly string[];
  readonly apiKey: readonly string[];
  readonly forwardedFor: readonly string[];
  readonly contentType: string | undefined;
  /** The address of the last hop. */
  readonly peer: string | undefined;
  readonly policy: string | undefined;
  readonly scopes: string | undefined;
  readonly configuredMethod: string | undefined;
}

/** Reads headers from `headers` and, with `encode_raw_headers`, from `header_map`. */
export function checkFacts({ attributes }: CheckRequest): CheckFacts {
  const http = attributes?.request?.http;
  const extensions = attributes?.contextExtensions ?? {};
  const peer = attributes?.source?.address?.address;
  const raw = new Map<string, string[]>();
  for (const { key, value, rawValue } of http?.headerMap?.headers ?? []) {
    const name = key.toLowerCase();
    const text = rawValue.length > 0 ? Buffer.from(rawValue).toString("latin1") : value;
    raw.set(name, [...(raw.get(name) ?? []), text]);
  }
  const valuesOf = (name: string) => {
    const value = http?.headers[name];
    return [...(value === undefined ? [] : [value]), ...(raw.get(name) ?? [])];
  };
  return {
    method: http?.method ?? "",
    path: http?.path ?? "",
    authorization: valuesOf(AUTHORIZATION),
    apiKey: valuesOf(API_KEY),
    forwardedFor: valuesOf("x-forwarded-for"),
    contentType: valuesOf("content-type")[0],
    peer: peer?.case === "socketAddress" ? peer.value.address : undefined,
    policy: extensions["claviger.policy"],
    scopes: extensions["claviger.scopes"],
    configuredMethod: extensions["claviger.method"],
  };
}
