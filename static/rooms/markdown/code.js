// @ts-check
// Code: the words behind its fence, as rooms/markup/code.py reads them, and its colours once the fence is
// closed, until the server's HTML arrives with those of Pygments.

import { element } from "./tree.js";

/** @typedef {import("./tree.js").Node} Node */

const FILE = /^(?:[\p{L}\p{N}_.+-]+[:\s]+)?(?:(?:title|file|filename)=)?["']?([\p{L}\p{N}_@./+-]*[\p{L}\p{N}_]\.[\p{L}\p{N}_-]+)["']?/u;
const LANGUAGE = /^[\p{L}\p{N}_+#-]{1,24}/u;
const MAX_CHARACTERS = 8_000;

const KEYWORDS = new Set(
  ("abstract and as assert async await break case catch class const continue crate def default del do elif else enum " +
    "except export extends false False final finally fn for foreach from func function global go if impl implements " +
    "import in instanceof interface is lambda let loop match mod module mut namespace new nil None not null of or " +
    "package pass private protected pub public raise return select self static struct super switch this throw throws " +
    "trait true True try type typeof undefined unsafe use using val var void when where while with yield " +
    "SELECT FROM WHERE INSERT INTO UPDATE DELETE SET VALUES CREATE TABLE JOIN LEFT RIGHT ON AND OR NOT NULL GROUP BY " +
    "ORDER LIMIT AS DISTINCT then fi done esac").split(" "),
);
const HASH = "python py python3 bash sh shell zsh ruby rb yaml yml toml docker dockerfile".split(" ");
const DASH = "sql postgresql sqlite".split(" ");
const SLASH = (
  "c h cpp c++ cc hpp css scss go golang javascript js jsx mjs kotlin kt java php rust rs swift typescript ts tsx"
).split(" ");
const OTHER = ["json"];

const STRING = `"(?:[^"\\\\\\n]|\\\\.)*"|'(?:[^'\\\\\\n]|\\\\.)*'`;
const REST = `(?<number>\\b\\d[\\w.]*)|(?<word>[A-Za-z_]\\w*)`;
const COMMENTS = /** @type {[string[], string][]} */ ([
  [HASH, "#[^\\n]*"],
  [DASH, "--[^\\n]*"],
  [SLASH, "//[^\\n]*|/\\*[^*]*(?:\\*(?!/)[^*]*)*\\*/"],
  [OTHER, "(?!)"],
]);
const PATTERNS = new Map(
  COMMENTS.flatMap(([languages, comment]) =>
    languages.map((language) => [language, `(?<comment>${comment})|(?<string>${STRING})|${REST}`]),
  ),
);

/** @param {string} words @returns {{title: string, name: string, language: string}} */
export function fileAndLanguage(words) {
  const info = words.trim();
  const found = FILE.exec(info.slice(0, 200));
  const name = found?.[1] ?? "";
  const first = LANGUAGE.exec(info.startsWith(name) ? info.slice(name.length) : info);
  const title = found && found[0] === info ? name : info;
  return { title, name, language: first?.[0].toLowerCase() ?? name.slice(name.lastIndexOf(".") + 1).toLowerCase() };
}

/** @param {string} code @param {string} language @param {string} name of the file @returns {Node[]} */
export function highlight(code, language, name) {
  if (!code) return [];
  const extension = name.slice(name.lastIndexOf(".") + 1).toLowerCase();
  if (code.length > MAX_CHARACTERS) return [code];
  if (language === "diff" || language === "patch") return code.match(/[^\n]*\n|[^\n]+$/g)?.flatMap(diffLine) ?? [];
  const pattern = PATTERNS.get(language) ?? PATTERNS.get(extension);
  return pattern ? spans(code, new RegExp(pattern, "g")) : [code];
}

/** @param {string} line @returns {Node[]} */
function diffLine(line) {
  if (line[0] === "+") return [span("code-added", line)];
  if (line[0] === "-") return [span("code-removed", line)];
  return line.startsWith("@@") ? [span("code-comment", line)] : [line];
}

/** @param {string} code @param {RegExp} pattern @returns {Node[]} */
function spans(code, pattern) {
  /** @type {Node[]} */
  const nodes = [];
  let done = 0;
  let before = "";
  for (const { 0: text, index, groups } of code.matchAll(pattern)) {
    const isName = groups?.word && /^(?:def|class|function|func|fn|fun|struct|interface|trait)$/.test(before);
    before = text;
    const kind = groups?.comment ? "comment" : groups?.string ? "string" : groups?.number ? "number" : "";
    const name = kind ? `code-${kind}` : isName ? "code-name" : KEYWORDS.has(text) ? "code-keyword" : "";
    if (!name) continue;
    if (index > done) nodes.push(code.slice(done, index));
    nodes.push(span(name, text));
    done = index + text.length;
  }
  if (done < code.length) nodes.push(code.slice(done));
  return nodes;
}

/** @param {string} name @param {string} text */
function span(name, text) {
  return element("span", { class: name }, [text]);
}
