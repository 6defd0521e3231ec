import { type DescMessage, getOption, hasOption } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { field as fieldRules } from "#gen/buf/validate/validate_pb.js";
import { file_claviger_v1_audit } from "#gen/claviger/v1/audit_pb.js";
import { file_claviger_v1_key_management } from "#gen/claviger/v1/key_management_pb.js";
import { file_claviger_v1_key } from "#gen/claviger/v1/key_pb.js";
import { file_claviger_v1_key_verifier } from "#gen/claviger/v1/key_verifier_pb.js";
import { file_claviger_v1_usage } from "#gen/claviger/v1/usage_pb.js";
import { describeViolation } from "./validate.ts";

const FILES = [
  ...[file_claviger_v1_audit, file_claviger_v1_key, file_claviger_v1_key_management],
  ...[file_claviger_v1_key_verifier, file_claviger_v1_usage],
];

/** Every value of a field named `pattern` anywhere in the rules. */
function patternsIn(rules: unknown): string[] {
  if (typeof rules !== "object" || rules === null) return [];
  return Object.entries(rules).flatMap(([name, value]) =>
    name === "pattern" && typeof value === "string" && value !== "" ? [value] : patternsIn(value),
  );
}

function patternsOf(schema: DescMessage): string[] {
  const own = schema.fields.flatMap((field) =>
    hasOption(field, fieldRules) ? patternsIn(getOption(field, fieldRules)) : [],
  );
  return own.concat(schema.nestedMessages.flatMap(patternsOf));
}

describe("the message of a broken rule", () => {
  const patterns = [...new Set(FILES.flatMap(({ messages }) => messages.flatMap(patternsOf)))];

  it("says in words what every pattern of the contract asks for", () => {
    expect(patterns.length).toBeGreaterThan(5);
    for (const pattern of patterns) {
      const words = describeViolation(`does not match regex pattern \`${pattern}\``);
      expect(words, pattern).toMatch(/^must /);
      expect(words).not.toContain("^");
    }
  });

  it("shows no regular expression of a pattern that it does not know", () => {
    expect(describeViolation("does not match regex pattern `^x{3}$`")).not.toContain("^");
  });

  it.each([
    ["must be at least 1 characters", "must not be empty"],
    ["must be at most 63 characters", "must be at most 63 characters"],
    ["must contain no more than 64 item(s)", "must have at most 64 items"],
    ["must be greater than or equal to 1s", "must be at least 1s"],
    ["must be greater than or equal to 0 and less than or equal to 1000000", "must be from 0 to 1000000"],
  ])("%j becomes %j", (message, words) => {
    expect(describeViolation(message)).toBe(words);
  });
});
