// Texts that a parser might need much time or depth for, or that never close what they open.

const many = (unit, count) => unit.repeat(count);

export const HOSTILE = {
  "100,000 characters in one line": many("word ", 20_000),
  "100,000 characters without a space": many("x", 100_000),
  "1,000 nested quotes": `${many(">", 1_000)} deep`,
  "1,000 nested quotes in lines": Array.from({ length: 300 }, (_, at) => `${many("> ", at + 1)}a\n`).join(""),
  "1,000 nested lists": Array.from({ length: 300 }, (_, at) => `${many("  ", at)}- a\n`).join(""),
  "a table of 100 columns": `|${many("a|", 100)}\n|${many("-|", 100)}\n${many(`|${many("b|", 100)}\n`, 15)}`,
  "a table that never ends": `|a|b|\n|-|-|\n${many("|c|d|\n", 900)}`,
  "a table that becomes text": `|a|b|\n|-|-|\n${many("|c|d|\n", 500)}|c|d|e|\n`,
  "code that never closes": `\`\`\`js\n${many("let x = 1;\n", 3_000)}`,
  "emphasis that never closes": many("*a **b _c ~~d ", 900),
  "backticks that never close": many("`a ``b ", 900),
  "brackets that never close": many("[a ![b ", 900),
  "brackets and parentheses": many("[a](", 900),
  "link in every spelling": many("<http://a.example> [a](<b> 'c') https://d.example/x_(y) <e@f.example> [g]: h\n", 300),
  "formulas that never close": many("$$a\n$b ", 900),
  "references to notes": many("[^1] [^b", 900),
  "entities": many("&amp;&#1;&nothing; ", 900),
  "backslashes": many("\\a\\*", 2_000),
  "rules and headings": many("***\n# a\n- - -\n", 800),
};
