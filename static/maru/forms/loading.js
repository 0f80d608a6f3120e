// @ts-check
// Loads the bundle `forms` for a part of a page that has such a form. Each form works without it.

import { Bundle } from "../on_demand.js";

/** @type {Bundle<typeof import("./forms.js")>} */
const bundle = new Bundle("forms");

const FORMS = [
  "[data-copies]",
  "[data-finder]",
  "[data-passkey]",
  "[data-passkey-absent]",
  "[data-selects]",
  "form[data-connection]",
  "form[data-studio]",
].join();

/** Loads the bundle before a part of a page is shown. @param {ParentNode} part */
export async function prepareForms(part) {
  if (part.querySelector(FORMS)) await bundle.load().catch(() => {}); // the next page tries again
}

/** Enables the forms in a part of the page. @param {ParentNode} part */
export function startRareForms(part) {
  if (bundle.module) bundle.module.startPart(part);
  else if (part.querySelector(FORMS)) bundle.load().then((forms) => forms.startPart(part), () => {});
}
