import { describe, expect, it } from "vitest";
import { cutTo, widthOf, wrapTo } from "./printable.ts";
import { type Column, drawBars, formatList, formatTable } from "./table.ts";

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

  it("lines up after characters that are two cells wide, or none", () => {
    const rows = [
      ["日本語 🔑 ключ", "x"],
      ["e\u0301a", "x"],
      ["plain", "x"],
    ];
    const starts = formatTable(rows)
      .split("\n")
      .map((line) => widthOf(line.slice(0, line.lastIndexOf("x"))));
    expect(starts).toEqual([16, 16, 16]);
  });
});

describe("a list", () => {
  interface Row {
    readonly id: string;
    readonly name: string;
  }
  const columns: Column<Row>[] = [
    { title: "ID", cell: ({ id }) => id },
    { title: "NAME", cell: ({ name }) => name, least: 8 },
    { title: "WHEN", cell: () => "2027-02-20 (in 90 days)", short: () => "2027-02-20" },
    { title: "HINT", cell: () => "clv_live_…JKLM", dispensable: 1 },
  ];
  const rows = [{ id: "key_01hzy3v7mkf5c9q2w8xanb4tde", name: "a rather long name of a key, 日本語" }];
  const linesAt = (width: number | undefined) => formatList(rows, columns, width).split("\n");

  it("is shown in full where its width is no matter, as in a pipe", () => {
    expect(linesAt(undefined)[1]).toBe(
      "key_01hzy3v7mkf5c9q2w8xanb4tde  a rather long name of a key, 日本語  2027-02-20 (in 90 days)  clv_live_…JKLM",
    );
    expect(linesAt(500)).toEqual(linesAt(undefined));
  });

  it("cuts names before it goes without a column, and never cuts an id", () => {
    expect(linesAt(80)[1]).toBe("key_01hzy3v7mkf5c9q2w8xanb4tde  a rather long name …  2027-02-20  clv_live_…JKLM");
    expect(linesAt(60)).toEqual([
      "ID                              NAME              WHEN",
      "key_01hzy3v7mkf5c9q2w8xanb4tde  a rather long n…  2027-02-20",
    ]);
  });

  it.each([52, 60, 70, 80, 100, 120])("fits %i cells", (width) => {
    for (const line of linesAt(width)) expect(widthOf(line)).toBeLessThanOrEqual(width);
  });
});

describe("the width of a text", () => {
  it.each([
    ["plain", 5],
    ["ключ", 4],
    ["日本語", 6],
    ["한국어", 6],
    ["ｆｕｌｌ", 8],
    ["🔑", 2],
    ["❤️", 2],
    ["👍🏽", 2],
    ["🇩🇪", 2],
    ["é", 1],
    ["e\u0301", 1],
    ["…–", 2],
    ["", 0],
  ])("%j is %i cells", (text, cells) => {
    expect(widthOf(text)).toBe(cells);
  });

  it.each([
    ["ab cd", 5, "ab cd"],
    ["ab cd ef", 5, "ab cd\nef"],
    ["  ab cd ef", 7, "  ab cd\nef"],
    ["日本 語", 5, "日本\n語"],
    ["ab longer-than-that cd", 5, "ab\nlonger-than-that\ncd"],
    ["run `a b c`: now", 10, "run\n`a b c`:\nnow"],
    ["ab cd\nef", 2, "ab\ncd\nef"],
    ["ab cd", undefined, "ab cd"],
    ["", 5, ""],
  ])("%j is wrapped to %s cells at spaces, outside backticks", (text, cells, wrapped) => {
    expect(wrapTo(text, cells)).toBe(wrapped);
  });

  it("is never more than asked for once the text is cut", () => {
    expect(cutTo("日本語", 6)).toBe("日本語");
    expect(cutTo("日本語", 5)).toBe("日本…");
    expect(cutTo("日本語", 4)).toBe("日…");
    expect(cutTo("abcdefg", 6)).toBe("abcde…");
  });
});

it("the largest count has a full bar, others their share of it, and only 0 none", () => {
  expect(drawBars([4000, 2000, 50, 1, 0])).toEqual(["█".repeat(40), "█".repeat(20), "▌", "▏", ""]);
  expect(drawBars([0, 0])).toEqual(["", ""]);
  expect(drawBars([])).toEqual([]);
});
