// @ts-check
// Shows formulas as MathML. KaTeX is loaded when the first formula is there; without it the source is shown.

import { addressOf, load } from "../../maru/on_demand.js";

/** @typedef {{render: (source: string, target: Element, options: object) => void}} Katex */

const MAX_CHARACTERS = 4_000;
const LONG = 50;
/** After so many milliseconds other work of the page gets its turn. */
const SLICE_MS = 8;
/** Without frames and shadows, which KaTeX writes as inline styles: the CSP forbids these. */
const OPTIONS = {
  output: "mathml",
  trust: false,
  maxSize: 20,
  macros: { "\\pmb": "\\boldsymbol{#1}", "\\fbox": "\\text{#1}", "\\boxed": "#1", "\\fcolorbox": "\\colorbox{#2}" },
};

/** The source of each formula that is shown. @type {WeakMap<Element, string>} */
const sources = new WeakMap();
/** Formulas that are shown as their source so far. @type {[Element, string][]} */
const waiting = [];
let isTypesetting = false;
/** @type {Promise<Katex> | undefined} */
let loading;

/** @param {Element} target @returns {string} the source of a formula */
export const formulaOf = (target) => sources.get(target) ?? target.textContent ?? "";

/** Shows a formula, if it is not shown already. @param {Element} target @param {string} source */
export function setFormula(target, source) {
  if (sources.get(target) === source) return;
  sources.set(target, source);
  target.textContent = source;
  // A browser does not break the line of a formula: a long one scrolls in its own box.
  target.toggleAttribute("data-wide", source.length > LONG);
  if (source.length > MAX_CHARACTERS || !target.ownerDocument.defaultView) return;
  waiting.push([target, source]);
  if (!isTypesetting) void typesetWaiting();
}

async function typesetWaiting() {
  isTypesetting = true;
  try {
    loading ??= load(addressOf("katex.js")).then(({ katex }) => katex);
    const katex = await loading;
    let start = performance.now();
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      typeset(katex, ...next);
      if (performance.now() - start < SLICE_MS) continue;
      await new Promise((done) => setTimeout(done));
      start = performance.now();
    }
  } catch {
    loading = undefined; // KaTeX is not reachable: the sources stay, and the next formula tries again
    waiting.length = 0;
  }
  isTypesetting = false;
}

/** @param {Katex} katex @param {Element} target @param {string} source */
function typeset(katex, target, source) {
  if (sources.get(target) !== source) return;
  try {
    katex.render(source, target, { ...OPTIONS, displayMode: target.localName === "div" });
  } catch {
    target.textContent = source; // it is no formula
  }
}
