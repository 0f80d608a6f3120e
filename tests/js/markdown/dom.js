// A small DOM: what static/rooms/markdown needs of a page, and a parser for the server's HTML.

const VOID = new Set(["br", "hr"]);
const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', nbsp: "\u00a0", "#39": "'" };

class Node {
  parentNode = null;
  get nextSibling() {
    return this.parentNode?.childNodes[this.parentNode.childNodes.indexOf(this) + 1] ?? null;
  }
}

class Text extends Node {
  nodeType = 3;
  constructor(owner, data) {
    super();
    this.ownerDocument = owner;
    this.data = data;
  }
  get textContent() {
    return this.data;
  }
  appendData(more) {
    this.ownerDocument.changed(this);
    this.data += more;
  }
  set text(data) {
    this.data = data;
  }
}

export class Element extends Node {
  nodeType = 1;
  childNodes = [];
  #attributes = new Map();
  constructor(owner, tag) {
    super();
    this.ownerDocument = owner;
    this.localName = tag;
  }
  get attributes() {
    return [...this.#attributes].map(([name, value]) => ({ name, value }));
  }
  getAttribute(name) {
    return this.#attributes.get(name) ?? null;
  }
  hasAttribute(name) {
    return this.#attributes.has(name);
  }
  setAttribute(name, value) {
    this.#attributes.set(name, value);
  }
  toggleAttribute(name, isSet) {
    if (isSet) this.#attributes.set(name, "");
    else this.#attributes.delete(name);
  }
  removeAttribute(name) {
    this.#attributes.delete(name);
  }
  get children() {
    return this.childNodes.filter((node) => node.nodeType === 1);
  }
  get lastElementChild() {
    return this.children.at(-1) ?? null;
  }
  get lastChild() {
    return this.childNodes.at(-1) ?? null;
  }
  get textContent() {
    return this.childNodes.map((node) => node.textContent).join("");
  }
  set textContent(text) {
    this.childNodes = [];
    if (text) this.appendChild(this.ownerDocument.createTextNode(text));
  }
  closest(tag) {
    return this.localName === tag ? this : (this.parentNode?.closest(tag) ?? null);
  }
  appendChild(node) {
    this.ownerDocument.changed(this);
    node.parentNode = this;
    this.childNodes.push(node);
  }
  replaceChild(node, old) {
    this.ownerDocument.changed(this);
    node.parentNode = this;
    old.parentNode = null;
    this.childNodes[this.childNodes.indexOf(old)] = node;
  }
  removeChild(node) {
    this.ownerDocument.changed(this);
    node.parentNode = null;
    const at = this.childNodes.lastIndexOf(node);
    this.childNodes.splice(at, 1);
  }
}

export class Document {
  defaultView = null;
  /** The number of changes. */
  changes = 0;
  createElement(tag) {
    return new Element(this, tag);
  }
  createTextNode(data) {
    return new Text(this, data);
  }
  changed() {
    this.changes += 1;
  }
}

/** @returns an element with the nodes of `html`, which the server has sanitized */
export function parse(html) {
  const owner = new Document();
  const root = owner.createElement("div");
  let inside = root;
  for (const [, close, tag, attributes, text] of html.matchAll(/<(\/?)([a-z0-9]+)([^>]*)>|([^<]+)/g)) {
    if (text !== undefined) inside.appendChild(owner.createTextNode(decode(text)));
    else if (close) inside = inside.parentNode;
    else {
      const element = owner.createElement(tag);
      for (const [, name, value] of attributes.matchAll(/([a-z-]+)="([^"]*)"/g)) element.setAttribute(name, decode(value));
      inside.appendChild(element);
      if (!VOID.has(tag)) inside = element;
    }
  }
  return root;
}

function decode(text) {
  return text.replace(/&(#?\w+);/g, (all, name) => ENTITIES[name] ?? all);
}

const BLOCKS = new Set("p h3 h4 h5 ul ol li blockquote div table thead tbody tr th td pre hr".split(" "));

/**
 * Returns the structure of an element as lines: tags, attributes and texts, without the whitespace that HTML
 * ignores and without the colours of code.
 */
export function structure(element) {
  return serialize(element.childNodes)
    .replace(/\n+(?=<)/g, "\n")
    .trim();
}

function serialize(nodes) {
  const parts = [];
  for (const node of merged(nodes)) {
    if (typeof node === "string") parts.push({ text: node });
    else parts.push({ node });
  }
  return parts
    .map(({ text, node }, at) => {
      if (text === undefined) return tagged(node);
      const isEdge = (other) => other === undefined || (other.node && (BLOCKS.has(other.node.localName) || other.node.localName === "br"));
      let shown = text;
      if (isEdge(parts[at - 1])) shown = shown.trimStart();
      if (isEdge(parts[at + 1])) shown = shown.trimEnd();
      return JSON.stringify(shown) === '""' ? "" : `${JSON.stringify(shown)}\n`;
    })
    .join("");
}

function tagged(node) {
  const attributes = node.attributes
    .filter(({ name }) => name !== "data-caret" && name !== "data-wide")
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, value }) => ` ${name}="${value}"`)
    .join("");
  if (VOID.has(node.localName)) return `<${node.localName}>\n`;
  const isCode = node.localName === "code" && node.parentNode?.localName === "pre";
  const inside = isCode ? `${JSON.stringify(node.textContent)}\n` : serialize(node.childNodes);
  return `<${node.localName}${attributes}>\n${inside}</${node.localName}>\n`;
}

function merged(nodes) {
  const result = [];
  for (const node of nodes) {
    if (node.nodeType === 1) result.push(node);
    else if (typeof result.at(-1) === "string") result[result.length - 1] += node.data;
    else result.push(node.data);
  }
  return result;
}
