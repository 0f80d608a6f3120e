// @ts-check
// Shows formulas as MathML. KaTeX is loaded when the first formula is there; without it the source is shown.

const MAX_CHARACTERS = 4_000;
const LONG = 50;
/** Without frames and shadows, which KaTeX writes as inline styles: the CSP forbids these. */
const OPTIONS = {
  output: "mathml",
  trust: false,
  maxSize: 20,
  macros: { "\\pmb": "\\boldsymbol{#1}", "\\fbox": "\\text{#1}", "\\boxed": "#1", "\\fcolorbox": "\\colorbox{#2}" },
};

/** The source of each formula that is shown. @type {WeakMap<Element, string>} */
const sources = new WeakMap();
/** @type {Promise<{render: (source: string, target: Element, options: object) => void}> | undefined} */
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
  void typeset(target, source);
}

/** @param {Element} target @param {string} source */
async function typeset(target, source) {
  if (source.length > MAX_CHARACTERS || !target.ownerDocument.defaultView) return;
  loading ??= import("../../vendor/katex/katex.js").then(({ katex }) => katex);
  try {
    const katex = await loading;
    if (sources.get(target) !== source) return;
    katex.render(source, target, { ...OPTIONS, displayMode: target.localName === "div" });
  } catch {
    if (sources.get(target) === source) target.textContent = source; // not a formula, or KaTeX is not reachable
  }
}
