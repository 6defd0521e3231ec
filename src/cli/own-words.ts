import type { Violation } from "./cli-error.ts";

/** The flags of the command line for fields of the API. */
const NAMES: Readonly<Record<string, string>> = {
  display_name: "--name",
  owner: "--owner",
  environment: "--environment",
  scopes: "--scope",
  required_scopes: "--scope",
  labels: "--label",
  label_selector: "--label",
  metadata: "--metadata",
  allowed_cidrs: "--cidr",
  ttl: "--ttl",
  grace_period: "--grace",
  limits: "the limits",
  requests_per_second: "--requests-per-second",
  burst: "--burst",
  requests_per_day: "--requests-per-day",
  expires_before: "--expires-before",
  unused_since: "--unused-since",
  page_size: "--page-size",
  page_token: "--page-token",
  start_time: "the first day or instant",
  end_time: "--until",
  group_by: "--by",
  step: "the number of days",
  actor: "--actor",
  key_id: "the key id",
  id: "the key id",
  version: "--version",
  secret: "the secret",
  client_ip: "--ip",
  method: "--method",
  cost: "--cost",
  reason: "--reason",
  note: "--note",
  source: "--source",
  etag: "--etag",
  state: "--state",
  update_mask: "what to change",
  request_id: "the request id",
  held_fields: "the held fields",
};

/** A violation as people at the command line read it: `key.allowed_cidrs[1]` is `--cidr`. */
export function violationInOwnWords({ field, description }: Violation): string {
  const path = field.replace(/\[.*?\](?=\.|\[|$)/gs, "");
  const leaf = path.slice(path.lastIndexOf(".") + 1);
  return `${NAMES[leaf] ?? leaf.replaceAll("_", " ")} ${inOwnWords(description)}`;
}

/** A message of the server with the names of the command line in the place of those of the API. */
export function inOwnWords(text: string): string {
  return text.replace(/(?<![\w:.-])[a-z]+(?:_[a-z]+)+(?![\w:-])/g, (name) => NAMES[name] ?? name);
}
