// @ts-check
// Access to Django's JavaScript catalogue. On a page without the catalogue, the functions return the msgids.

/** @typedef {{
 *   gettext?: (text: string) => string,
 *   ngettext?: (one: string, many: string, count: number) => string,
 * }} Catalogue */

const catalogue = /** @type {Catalogue} */ (/** @type {unknown} */ (globalThis));

/** @param {string} text @returns {string} */
export function gettext(text) {
  return catalogue.gettext ? catalogue.gettext(text) : text;
}

/** @param {string} one @param {string} many @param {number} count @returns {string} */
export function ngettext(one, many, count) {
  if (catalogue.ngettext) return catalogue.ngettext(one, many, count);
  return count === 1 ? one : many;
}

/**
 * Inserts named values into a sentence: fill("%(name)s is typing", {name: "Mina"}).
 * @param {string} sentence
 * @param {Record<string, string | number>} values
 * @returns {string}
 */
export function fill(sentence, values) {
  return sentence.replace(/%\((\w+)\)s/g, (whole, name) =>
    Object.hasOwn(values, name) ? String(values[name]) : whole,
  );
}
