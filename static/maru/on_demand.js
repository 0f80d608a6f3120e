// @ts-check
// Loads the scripts, style sheets and parts that few pages need. The name of each file has the hash of its content, so the
// page has the addresses, in <html data-build>.

/** The modules of the bundle of every page that the others share, by their names in it. @type {Record<string, unknown>} */
const shared = {};

/** How often the import of an address has failed. @type {Map<string, number>} */
const failures = new Map();

/** Called by the bundle of every page (platform/maru/assets/modules.py). @param {Record<string, unknown>} modules */
export function give(modules) {
  Object.assign(shared, modules);
}

/**
 * Imports a module. After a failure, the next call requests it again: a browser may keep the failure for this address,
 * but not for the same one with a fragment.
 * @param {string} address @returns {Promise<any>}
 */
export async function load(address) {
  const failed = failures.get(address) ?? 0;
  try {
    return await import(failed ? `${address}#${failed}` : address);
  } catch (error) {
    failures.set(address, failed + 1);
    throw error;
  }
}

/** A bundle that is loaded when the page needs it. @template T the type of its entry module */
export class Bundle {
  /** The entry module, after it is loaded. @type {T | null} */
  module = null;
  /** @type {Promise<T> | null} */
  #loading = null;

  /** @param {string} name @param {{hasStyles?: boolean, hasParts?: boolean}} [options] */
  constructor(name, { hasStyles = false, hasParts = false } = {}) {
    this.name = name;
    this.hasStyles = hasStyles;
    this.hasParts = hasParts;
  }

  /** Loads the bundle once, and again after a failure. @returns {Promise<T>} rejected if it could not be loaded */
  load() {
    this.#loading ??= this.#load().catch((error) => {
      this.#loading = null;
      throw error;
    });
    return this.#loading;
  }

  async #load() {
    const styles = this.hasStyles ? loadStyles(addressOf(`${this.name}.css`)) : null;
    const parts = this.hasParts ? load(addressOf("parts.js")) : null;
    const [{ link }, found] = await Promise.all([load(addressOf(`${this.name}.js`)), parts, styles]);
    if (found) addParts(found.parts);
    this.module = /** @type {T} */ (link(shared));
    return this.module;
  }
}

/** @param {string} file of static/ @returns {string} its address */
export function addressOf(file) {
  const [stem, suffix] = file.split(/\.(?=\w+$)/u);
  const addresses = document.documentElement.dataset.build?.split(" ") ?? [];
  return addresses.find((each) => each.includes(`/${stem}.`) && each.endsWith(`.${suffix}`)) ?? "";
}

/** @param {string} address @returns {Promise<void>} resolved when the sheet applies */
function loadStyles(address) {
  const known = document.querySelector(`link[href="${address}"]`);
  if (known instanceof HTMLLinkElement && known.sheet) return Promise.resolve();
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = address;
  return new Promise((done, failed) => {
    link.addEventListener("load", () => done());
    link.addEventListener("error", () => {
      link.remove();
      failed(new Error(`${address} could not be loaded`));
    });
    document.head.append(link);
  });
}

// The <template> elements that are the same in each room are in the script of the language, and those of a bundle in a
// script that is loaded with it (platform/maru/assets/words.py).

/** The templates by their ids, after the first use. @type {Map<string, HTMLTemplateElement> | null} */
let known = null;

/** @param {string} id @returns {HTMLTemplateElement | undefined} */
export function sharedTemplate(id) {
  return templates().get(id);
}

/** Adds the templates of a bundle. @param {string} html */
function addParts(html) {
  for (const [id, template] of parsed(html)) templates().set(id, template);
}

function templates() {
  const { clonedParts = "" } = /** @type {{clonedParts?: string}} */ (globalThis);
  return (known ??= new Map(parsed(clonedParts)));
}

/** @param {string} html @returns {[string, HTMLTemplateElement][]} the icons have the address of the sprite */
function parsed(html) {
  const sprite = document.documentElement.dataset.sprite ?? "";
  const found = [...new DOMParser().parseFromString(html, "text/html").querySelectorAll("template")];
  for (const { content } of found) {
    for (const use of content.querySelectorAll("use")) use.setAttribute("href", `${sprite}${use.getAttribute("href")}`);
  }
  return found.map((template) => [template.id, template]);
}
