// @ts-check
// Loads the scripts and style sheets that few pages need. The name of each file has the hash of its content, so the
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

  /** @param {string} name @param {{hasStyles?: boolean}} [options] */
  constructor(name, { hasStyles = false } = {}) {
    this.name = name;
    this.hasStyles = hasStyles;
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
    const [{ link }] = await Promise.all([load(addressOf(`${this.name}.js`)), styles]);
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
