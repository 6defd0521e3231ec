/** How much a question about a secret may hold; the rules of `claviger.v1.VerifyRequest`, which a test holds it to. */
export const QUESTION_LIMITS = { secretBytes: 4096, scopes: 64, scopeBytes: 128, methodBytes: 256 };

const METHOD = /^\/[!-.0-~]+\/[!-.0-~]+$/;

/** Whether it plainly is `/package.Service/Method`: of ASCII alone. What is not plain may be right all the same. */
export function isPlainMethod(text: string): boolean {
  return text.length <= QUESTION_LIMITS.methodBytes && METHOD.test(text);
}

const SCOPE = /^[a-z0-9_.-]+(:[a-z0-9_.-]+)*$/;

/** Whether a question may require this scope: a scope without a wildcard. */
export function isRequiredScope(text: unknown): boolean {
  return typeof text === "string" && text.length <= QUESTION_LIMITS.scopeBytes && SCOPE.test(text);
}
