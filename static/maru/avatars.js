// @ts-check
// Builds the same small parts as the templates: icons, avatars and the activity indicator. This module
// creates elements and text nodes; it parses no HTML.

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {string} name a symbol of the sprite
 * @param {number} [size]
 * @returns {SVGElement}
 */
export function icon(name, size) {
  const drawing = svg("svg", { class: "icon", "aria-hidden": "true" });
  if (size) drawing.setAttribute("data-size", String(size));
  const sprite = document.documentElement.dataset.sprite ?? "/static/icons.svg";
  drawing.append(svg("use", { href: `${sprite}#${name}` }));
  return drawing;
}

/** @returns {SVGElement} the "AI" mark next to a persona's name */
export function aiMark() {
  const mark = svg("svg", {
    class: "ai-mark",
    role: "img",
    "aria-label": "AI",
    viewBox: "0 0 20 14",
  });
  mark.append(
    svg("rect", { x: ".5", y: ".5", width: "19", height: "13", rx: "1.5" }),
    svg("path", { d: "m5 10.5 2.6-7h.2l2.6 7M6 8.2h3.4M14 3.5v7", "stroke-width": "1.2" }),
  );
  return mark;
}

/**
 * @param {{pigment: string, lattice: string}} persona
 * @param {number} [size] 20, 24, 32 or 40
 * @returns {HTMLElement}
 */
export function personaMark(persona, size = 32) {
  const mark = markOf("persona", size);
  mark.dataset.pigment = persona.pigment;
  mark.append(icon(`lattice-${persona.lattice}`));
  return mark;
}

/**
 * @param {{name: string, wood?: string}} person
 * @param {number} [size] 20, 24, 32 or 40
 * @returns {HTMLElement}
 */
export function personMark(person, size = 32) {
  const mark = markOf("user", size);
  if (person.wood) mark.dataset.wood = person.wood;
  mark.textContent = initials(person.name, size < 32 ? 1 : 2);
  return mark;
}

/** @param {string} [pigment] @returns {HTMLElement} the activity indicator: three boards that light up in turn */
export function planks(pigment) {
  const sign = document.createElement("span");
  sign.className = "planks";
  sign.setAttribute("aria-hidden", "true");
  if (pigment) sign.dataset.pigment = pigment;
  sign.append(...[1, 2, 3].map(() => document.createElement("i")));
  return sign;
}

/**
 * The initials in a person's avatar; the same rule as in accounts/names.py.
 * @param {string} name
 * @param {number} [most] the maximum of Hangul syllables
 * @returns {string}
 */
export function initials(name, most = 2) {
  const words = name.trim().split(/\s+/u).filter(Boolean);
  if (!words.length) return "";
  const first = words[0];
  if (/^[가-힣]+$/u.test(first)) {
    const given = words.length === 1 && /^.{3,4}$/u.test(first) ? first.slice(-2) : first;
    return given.slice(0, most);
  }
  const letters = words.length === 1 ? [first] : [first, words[words.length - 1]];
  return letters.map((word) => Array.from(word)[0].toUpperCase()).join("");
}

/** @param {string} author @param {number} size @returns {HTMLElement} */
function markOf(author, size) {
  const mark = document.createElement("span");
  mark.className = "mark";
  mark.dataset.author = author;
  mark.dataset.size = String(size);
  mark.setAttribute("aria-hidden", "true");
  return mark;
}

/** @param {string} tag @param {Record<string, string>} attributes @returns {SVGElement} */
function svg(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
