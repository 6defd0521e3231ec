import { allowsAtMost } from "./cidrs.ts";
import { isLowered, type Limits } from "./limits.ts";

/** A field that an administrator or a service can set so that the key's owner cannot undo it. */
export type HeldField = "disabled" | "limits" | "allowed_cidrs";

/** The restrictions of a key as a whole. */
interface Restrictions {
  readonly disabled: boolean;
  readonly limits: Limits | null;
  readonly allowedCidrs: readonly string[];
}

const FIELDS: Readonly<
  Record<
    HeldField,
    {
      readonly name: keyof Restrictions;
      readonly restricts: (key: Restrictions) => boolean;
      readonly allowsMore: (before: Restrictions, next: Restrictions) => boolean;
    }
  >
> = {
  disabled: {
    name: "disabled",
    restricts: ({ disabled }) => disabled,
    allowsMore: (before, next) => before.disabled && !next.disabled,
  },
  limits: {
    name: "limits",
    restricts: ({ limits }) => limits !== null,
    allowsMore: (before, next) => isLowered(next.limits, before.limits),
  },
  allowed_cidrs: {
    name: "allowedCidrs",
    restricts: ({ allowedCidrs }) => allowedCidrs.length > 0,
    allowsMore: (before, next) => !allowsAtMost(next.allowedCidrs, before.allowedCidrs),
  },
};

const HELD_FIELDS = Object.keys(FIELDS) as HeldField[];

/** The restrictions of `before` that `next` lifts or loosens. */
export function loosened(before: Restrictions, next: Restrictions): HeldField[] {
  return HELD_FIELDS.filter((field) => FIELDS[field].allowsMore(before, next));
}

/** The held fields after a caller other than the owner has set the fields of `update`, which produced `next`. */
export function heldAfter(
  before: readonly HeldField[],
  next: Restrictions,
  update: Partial<Restrictions>,
): HeldField[] {
  return HELD_FIELDS.filter((field) => {
    const { name, restricts } = FIELDS[field];
    return update[name] === undefined ? before.includes(field) : restricts(next);
  });
}
