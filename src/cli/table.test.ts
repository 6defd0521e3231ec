import { describe, expect, it } from "vitest";
import { formatTable, shorten } from "./table.ts";

describe("a table", () => {
  it("lines its columns up, without trailing spaces", () => {
    const rows = [
      ["ID", "NAME", "STATE"],
      ["1", "a longer name", ""],
      ["1000", "ä", "active"],
    ];
    expect(formatTable(rows)).toBe("ID    NAME           STATE\n1     a longer name\n1000  ä              active");
  });

  it("keeps one line per row, and no escape sequence", () => {
    expect(formatTable([["evil\n\u001b[2Jname", "x"]])).toBe("evil \\u{1b}[2Jname  x");
  });

  it("of no rows is empty", () => {
    expect(formatTable([])).toBe("");
  });

  it("shortens a cell to a number of characters", () => {
    expect(shorten("abcdef", 6)).toBe("abcdef");
    expect(shorten("abcdefg", 6)).toBe("abcde…");
  });
});
