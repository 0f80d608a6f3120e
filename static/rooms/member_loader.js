// @ts-check
// Loads members of a large room that its state does not have: by name, or page by page.

/** @typedef {import("./room_state.js").RoomState} RoomState */
/** @typedef {import("./protocol.js").Member} Member */

/** @typedef {{items: Member[], next: string | null}} Page */

const TYPING_MS = 200;
const FOUND = "20";
const PAGE = "100";

export class MemberLoader {
  /** The words that the server was asked for. @type {Set<string>} */
  #asked = new Set();
  /** @type {string | null} */
  #cursor = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {RoomState} state
   * @param {(members: Member[]) => void} load adds members to the state
   * @param {(room: string, query: Record<string, string>) => Promise<Page>} [fetchPage]
   */
  constructor(state, load, fetchPage = fetchMembers) {
    this.state = state;
    this.load = load;
    this.fetchPage = fetchPage;
  }

  /** Whether there are members that `loadMore` has not loaded. @returns {boolean} */
  get hasMore() {
    return this.#cursor !== null && this.state.members.size < this.state.memberCount;
  }

  /** Loads the members whose name or handle contains the words, after a pause in typing. @param {string} words */
  find(words) {
    clearTimeout(this.#timer);
    if (this.state.membersComplete || !words || this.#asked.has(words)) return;
    this.#timer = setTimeout(() => this.#find(words), TYPING_MS);
  }

  /** Loads the next page of all members. */
  async loadMore() {
    if (this.#cursor === null) return;
    const next = this.#cursor ? { cursor: this.#cursor } : {};
    const page = await this.#fetch({ limit: PAGE, ...next });
    if (!page) return;
    this.#cursor = page.next;
    this.load(page.items);
  }

  /** @param {string} words */
  async #find(words) {
    this.#asked.add(words);
    const page = await this.#fetch({ limit: FOUND, q: words });
    if (page) this.load(page.items);
    else this.#asked.delete(words);
  }

  /** @param {Record<string, string>} query @returns {Promise<Page | null>} null after a failure */
  async #fetch(query) {
    try {
      return await this.fetchPage(this.state.room.id, query);
    } catch {
      return null; // offline, or too many requests: the page shows the members that it has
    }
  }
}

/** @param {{name: string, handle: string}} named @param {string} words in lower case @returns {boolean} */
export function matches({ name, handle }, words) {
  return [name, handle].some((one) => one.toLowerCase().includes(words));
}

/** @param {string} room @param {Record<string, string>} query @returns {Promise<Page>} */
async function fetchMembers(room, query) {
  const answer = await fetch(`/api/v1/rooms/${room}/members?${new URLSearchParams(query)}`);
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.json();
}
