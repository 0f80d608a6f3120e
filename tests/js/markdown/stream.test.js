// Markdown while it grows: safe at every cut, settled blocks stay, and in the end equal to the server's HTML.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { byFolded } from "../../../static/rooms/composer/mentions.js";
import { parseInline } from "../../../static/rooms/markdown/inline/parser.js";
import { MarkdownStream } from "../../../static/rooms/markdown/stream.js";
import { make } from "../../../static/rooms/markdown/tree.js";
import { Document, parse, structure } from "./dom.js";
import { HOSTILE } from "./hostile.js";

const CASES = JSON.parse(readFileSync(new URL("./cases.json", import.meta.url), "utf8"));
const MOST_CUTS = 400;
const TAGS = new Set(
  "p br hr strong em s bdi code h3 h4 h5 a span sup ul ol li blockquote pre div table thead tbody tr th td".split(" "),
);
const ATTRIBUTES = new Set("class href target rel start value data-align data-handle data-caret data-wide".split(" "));

function open() {
  const body = new Document().createElement("div");
  return { body, stream: new MarkdownStream(body) };
}

/** The indices up to which a text is shown: all of a short text, and a bounded number of a long one. */
function cutsOf(text, most = MOST_CUTS) {
  const step = Math.max(1, Math.ceil(text.length / most));
  const cuts = [];
  for (let cut = 1; cut < text.length; cut += step) cuts.push(cut);
  return [...cuts, text.length];
}

function foreignParts(element, found = []) {
  for (const node of element.childNodes) {
    if (node.nodeType !== 1) continue;
    if (!TAGS.has(node.localName)) found.push(node.localName);
    for (const { name, value } of node.attributes) {
      if (!ATTRIBUTES.has(name)) found.push(name);
      if (name === "href" && !/^(?:https?:\/\/|mailto:)/i.test(value)) found.push(value);
    }
    foreignParts(node, found);
  }
  return found;
}

/** Streams a text by its cuts, and checks each state. */
function streamed(text, cuts = cutsOf(text)) {
  const { body, stream } = open();
  const settled = [];
  for (const cut of cuts) {
    stream.write(text.slice(0, cut));
    assert.deepEqual(foreignParts(body), [], text.slice(0, cut));
    const blocks = body.childNodes.slice(0, -1); // a block that another follows is settled
    for (const [at, { block, shown }] of settled.entries()) {
      assert.equal(blocks[at], block, `block ${at} was replaced at ${cut} of ${JSON.stringify(text)}`);
      assert.equal(structure(block), shown, `block ${at} has changed at ${cut} of ${JSON.stringify(text)}`);
    }
    for (const block of blocks.slice(settled.length)) settled.push({ block, shown: structure(block) });
  }
  stream.finish();
  assert.deepEqual(foreignParts(body), []);
  return body;
}

for (const { text, html, plain } of CASES) {
  test(`${JSON.stringify(text).slice(0, 70)} is safe at every cut and ends as the server's HTML`, () => {
    const body = streamed(text);

    if (!plain) assert.equal(structure(body), structure(parse(html)));
  });
}

for (const [name, text] of Object.entries(HOSTILE)) {
  test(`${name}: safe, and no text is lost`, () => {
    const { body, stream } = open();
    for (const cut of cutsOf(text, 60)) {
      stream.write(text.slice(0, cut));
      assert.deepEqual(foreignParts(body), []);
    }
    stream.finish();

    const letters = (words) => words.replace(/[^a-z가]/g, "").length;
    if (!name.includes("link")) assert.equal(letters(body.textContent), letters(text));
  });
}

test("the result does not depend on where the text was cut", () => {
  for (const { text } of CASES) {
    const whole = structure(streamed(text, [text.length]));

    for (const size of [2, 7, 31]) {
      const cuts = Array.from({ length: Math.ceil(text.length / size) }, (_, at) => Math.min((at + 1) * size, text.length));
      assert.equal(structure(streamed(text, cuts)), whole, text);
    }
  }
});

test("random marks are safe, and their result does not depend on the cuts", () => {
  const pieces = [..."#->*_`~[]()<>|:\\&!=1. \n$^@", "\n\n", "    ", "```", "[a](http://b.c)", "|-|-|\n", "|a|b|\n", "- [ ] ", "[^1]", "가", "a"];
  let seed = 7;
  const next = (below) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((seed / 2_147_483_648) * below);
  };
  for (let count = 0; count < 400; count += 1) {
    const text = Array.from({ length: 1 + next(24) }, () => pieces[next(pieces.length)]).join("");

    assert.equal(structure(streamed(text)), structure(streamed(text, [text.length])), JSON.stringify(text));
  }
});

test("no mark is seen before it is decided", () => {
  const texts = [
    "## Heading\n\nText **bold** and `code` and [link](https://a.example).\n\n",
    "| a | b |\n|---|---|\n| 1 | 2 |\n",
    "```js\nlet x = 1;\n```\n",
    "- [ ] task\n1. one\n> quote\n",
    "A price of $5, a formula $x^2$ and a note[^1].\n\n[^1]: The note.\n",
    "***\n\n**가람(Garam)**이 답합니다.\n",
  ];
  for (const text of texts) {
    const { body, stream } = open();
    for (const cut of cutsOf(text)) {
      stream.write(text.slice(0, cut));
      assert.doesNotMatch(body.textContent, /#|\*|`|\||---|\]|\[|\(http/, text.slice(0, cut));
    }
  }
});

test("marks that turn out to be text are shown when the line ends", () => {
  const { body, stream } = open();

  stream.write("5 **bold");
  assert.equal(structure(body), structure(parse("<p>5 <strong>bold</strong></p>")));
  stream.write("5 **bold\nnext");
  assert.equal(structure(body), structure(parse("<p>5 **bold<br>next</p>")));
  stream.finish("5 **bold\nnext**");
  assert.equal(structure(body), structure(parse("<p>5 <strong>bold<br>next</strong></p>")));
});

test("a text in one line of 100,000 characters changes few nodes", () => {
  const { body, stream } = open();
  const text = "word ".repeat(20_000);
  let most = 0;
  for (let cut = 100; cut <= text.length; cut += 100) {
    const before = body.ownerDocument.changes;
    stream.write(text.slice(0, cut));
    most = Math.max(most, body.ownerDocument.changes - before);
  }

  assert.ok(most < 10, `${most} changes in one step`);
});

test("a frame parses only what is not settled, however long the text is", () => {
  for (const unit of ["word ", "*a **b ", "[a](b ", "a `b` ~~c~~ ", "[a\n", "x", "&amp;", "**a** ", "`a ", "<a ", "$a "]) {
    const text = unit.repeat(40_000 / unit.length);
    let from = 0;
    let most = 0;
    for (let cut = 100; cut <= text.length; cut += 100) {
      most = Math.max(most, cut - from);
      from = parseInline(text.slice(0, cut), { open: true, from }).at;
    }

    assert.ok(most < 5_000, `${JSON.stringify(unit)}: ${most} characters in one frame`);
  }
});

test("lines with too many signs lose their formatting and no text", () => {
  const { body, stream } = open();
  const text = Array.from({ length: 300 }, (_, at) => `*a* [b] ${at} *c* [d]`).join("\n");
  for (const cut of cutsOf(text)) stream.write(text.slice(0, cut));
  stream.finish();

  assert.equal(structure(body), structure(parse(`<p>${text.replaceAll("\n", "<br>")}</p>`)));
});

test("rows of a table are added and not written again", () => {
  const { body, stream } = open();
  let text = "| a | b |\n|---|---|\n";
  stream.write(text);
  const rows = [];
  for (let row = 0; row < 200; row += 1) {
    text += `| ${row} | x |\n`;
    stream.write(text);
    const [, tbody] = body.childNodes[0].childNodes[0].childNodes;
    rows.push(tbody.childNodes[row]);
    assert.equal(tbody.childNodes[0], rows[0]);
  }
  const before = body.ownerDocument.changes;
  stream.write(`${text}| last `);
  assert.ok(body.ownerDocument.changes - before < 10);
});

test("an attribute that the page adds does not replace an element", () => {
  const { body, stream } = open();

  stream.write("see https://a.example/x and");
  const [, link] = body.childNodes[0].childNodes;
  link.setAttribute("tabindex", "-1");
  stream.write("see https://a.example/x and more");

  assert.equal(body.childNodes[0].childNodes[1], link);
});

test("a new attempt starts over", () => {
  const { body, stream } = open();

  stream.write("# One\n\ntext");
  stream.write("");
  stream.write("two");

  assert.equal(structure(body), structure(parse("<p>two</p>")));
});

test("the caret is in the block that is being written", () => {
  const carets = (element) =>
    element.childNodes.flatMap((node) => [...(node.attributes?.some(({ name }) => name === "data-caret") ? [node.localName] : []), ...(node.childNodes ? carets(node) : [])]);
  const { body, stream } = open();

  for (const [text, place] of [["a", "p"], ["a\n\n- b", "li"], ["a\n\n- b\n\n| a |\n|---|\n| x", "td"]]) {
    stream.write(text);
    assert.deepEqual(carets(body), [place], text);
  }
  stream.finish();
  assert.deepEqual(carets(body), []);
});

test("mentions outside of code, links and quotes are chips", () => {
  const body = new Document().createElement("div");
  const stream = new MarkdownStream(body, byFolded(["garam", "나리"]));
  stream.write("**@garam님** and @나리에게 or @other, `@garam`, [@garam](https://a.example)\n\n> @garam\n\n| @나리 |\n|---|");
  stream.finish();

  const shown = structure(body);
  assert.equal(shown.match(/class="mention"/g).length, 3, shown);
  assert.ok(shown.startsWith('<p>\n<strong>\n<span class="mention" data-handle="garam">\n"@garam"\n</span>\n"님"'), shown);
  assert.match(shown, /<span class="mention" data-handle="나리">\n"@나리"\n<\/span>\n"에게 or @other, "/);
});

test("an element or address that is not allowed is refused", () => {
  const owner = new Document();

  for (const node of [
    { tag: "script", attributes: {}, children: [] },
    { tag: "img", attributes: { src: "x" }, children: [] },
    { tag: "a", attributes: { href: "javascript:alert(1)" }, children: [] },
    { tag: "p", attributes: { onclick: "alert(1)" }, children: [] },
  ]) {
    assert.throws(() => make(owner, node));
  }
});

test("the checks find an element that is not allowed, and a block that has changed", () => {
  assert.deepEqual(foreignParts(parse('<p><img src="x"></p>')), ["img", "src"]);
  assert.deepEqual(foreignParts(parse('<a href="javascript:alert(1)">x</a>')), ["javascript:alert(1)"]);
  assert.notEqual(structure(parse("<p>a</p>")), structure(parse("<p>b</p>")));
  assert.notEqual(structure(parse("<p>a <b>b</b></p>")), structure(parse("<p>a<b>b</b></p>")));
});
