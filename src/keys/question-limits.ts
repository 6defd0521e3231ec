/**
 * Limits on the content of a question about a secret. They equal the rules of `claviger.v1.VerifyRequest`; a test
 * compares them.
 */
export const QUESTION_LIMITS = { secretBytes: 4096, scopes: 64, scopeBytes: 128, methodBytes: 256 };

const METHOD = /^\/[!-.0-~]+\/[!-.0-~]+$/;

/** Fast check for an ASCII `/package.Service/Method`. A text that fails it may still be valid. */
export function isPlainMethod(text: string): boolean {
  return text.length <= QUESTION_LIMITS.methodBytes && METHOD.test(text);
}

const SCOPE = /^[a-z0-9_.-]+(:[a-z0-9_.-]+)*$/;

/** Whether a question may require this scope: a scope without a wildcard. */
export function isRequiredScope(text: unknown): boolean {
  return typeof text === "string" && text.length <= QUESTION_LIMITS.scopeBytes && SCOPE.test(text);
}
