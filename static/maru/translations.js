// @ts-check
// Access to Django's JavaScript catalogue. On a page without the catalogue, the functions return the msgids.

/** @typedef {{
 *   gettext?: (text: string) => string,
 *   pgettext?: (context: string, text: string) => string,
 *   ngettext?: (one: string, many: string, count: number) => string,
 * }} Catalogue */

const catalogue = /** @type {Catalogue} */ (/** @type {unknown} */ (globalThis));

/** @param {string} text @returns {string} */
export function gettext(text) {
  return catalogue.gettext ? catalogue.gettext(text) : text;
}

/** @param {string} context @param {string} text @returns {string} */
export function pgettext(context, text) {
  return catalogue.pgettext ? catalogue.pgettext(context, text) : text;
}

/** @param {string} one @param {string} many @param {number} count @returns {string} */
export function ngettext(one, many, count) {
  if (catalogue.ngettext) return catalogue.ngettext(one, many, count);
  return count === 1 ? one : many;
}

/**
 * Inserts named values into a sentence: fill("%(name)s is typing", {name: "Mina"}). A Korean particle in both
 * forms behind a value, such as "이(가)", becomes the form that fits the value.
 * @param {string} sentence
 * @param {Record<string, string | number>} values
 * @returns {string}
 */
export function fill(sentence, values) {
  return sentence.replace(PLACEHOLDER, (whole, name, forms = "") => {
    if (!Object.hasOwn(values, name)) return whole;
    const value = String(values[name]);
    return value + particle(value, forms);
  });
}

/**
 * Returns the parts of `fill(sentence, values)`: text with "", and values with their names.
 * @param {string} sentence @param {Record<string, string | number>} values @returns {[string, string][]}
 */
export function pieces(sentence, values) {
  /** @type {[string, string][]} */
  const found = [];
  let [at, before] = [0, ""];
  for (const { 0: whole, 1: name, 2: forms = "", index } of sentence.matchAll(PLACEHOLDER)) {
    const value = String(values[name]);
    found.push([before + sentence.slice(at, index), ""], [value, name]);
    [at, before] = [index + whole.length, particle(value, forms)];
  }
  found.push([before + sentence.slice(at), ""]);
  return found.filter(([text]) => text);
}

/** @param {string} sentence @param {string} names @returns {[string, string]} the text around `%(names)s` */
export function around(sentence, names) {
  const [before] = sentence.split("%(names)s");
  return [before, fill(sentence, { names }).slice(before.length + names.length)];
}

// As in accounts/particles.py: tests/accounts/particles.json has the cases that both pass.
const PLACEHOLDER = /%\((\w+)\)s(이\(가\)|은\(는\)|을\(를\)|과\(와\)|\(으\)로|\(이\))?/g;

/**
 * @param {string} word
 * @param {string} forms for example "이(가)": after a consonant, and after a vowel
 * @returns {string} the form that follows the last syllable; "" behind a word that is not Korean
 */
function particle(word, forms) {
  const last = word.charCodeAt(word.length - 1) - 0xac00;
  if (!forms || !(last >= 0 && last < 11_172)) return "";
  const final = last % 28; // the number of the final consonant; 0 without one
  if (forms === "(으)로") return final && final !== 8 ? "으로" : "로"; // 8 is ㄹ
  if (forms === "(이)") return final ? "이" : "";
  return final ? forms[0] : forms[2];
}
