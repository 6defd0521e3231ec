import { expect, it, vi } from "vitest";
import { Secret } from "../../keys/secret.ts";
import { RetirementNotice } from "./retirement.ts";

const SOON = "2031-02-03T04:05:06.789Z";

it("is reported once for each secret", () => {
  const onRetiring = vi.fn();
  const notice = new RetirementNotice(onRetiring);
  notice.read(new Secret("s1"), SOON);
  notice.read(new Secret("s1"), SOON);
  expect(onRetiring.mock.calls).toEqual([[new Date(SOON)]]);
  notice.read(new Secret("s2"), "2031-02-03T04:05:06+01:00");
  expect(onRetiring.mock.calls.slice(1)).toEqual([[new Date("2031-02-03T03:05:06.000Z")]]);
});

it("is the first value if header and trailer are joined", () => {
  const onRetiring = vi.fn();
  new RetirementNotice(onRetiring).read(new Secret("s1"), `${SOON}, ${SOON}`);
  expect(onRetiring.mock.calls).toEqual([[new Date(SOON)]]);
});

it.each([undefined, null, "", "soon", ", "])("is ignored if it is not an instant: %j", (value) => {
  const onRetiring = vi.fn();
  new RetirementNotice(onRetiring).read(new Secret("s1"), value);
  expect(onRetiring).not.toHaveBeenCalled();
});

it("is a warning of the process by default, which says what to do and hides the secret", () => {
  const emitWarning = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
  try {
    new RetirementNotice().read(new Secret("s1-very-secret"), SOON);
    expect(emitWarning.mock.calls).toEqual([
      [
        `the secret that this process calls with retires at ${SOON}. Replace it by the new secret of its key`,
        { type: "ClavigerWarning", code: "CLAVIGER_SECRET_RETIRES" },
      ],
    ]);
  } finally {
    emitWarning.mockRestore();
  }
});
