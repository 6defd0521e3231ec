import { invalidField } from "../keys/errors.ts";

/** A span that a request asks for, or the default; `INVALID_FIELD` if policy does not allow it. All in milliseconds. */
export function chooseSpan(
  field: string,
  asked: number | undefined,
  policy: { readonly default: number; readonly max: number },
): number {
  if (asked === undefined) return policy.default;
  if (asked > policy.max) throw invalidField(field, `must be at most ${policy.max / 1000} s`);
  return asked;
}

/** `time` + `spanMs`. */
export function after(time: Date, spanMs: number): Date {
  return new Date(time.getTime() + spanMs);
}
