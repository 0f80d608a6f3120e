// @ts-check
// Reads what the page has for its room, and what the script of the language has for all rooms.

/** @param {HTMLElement} main @returns {any} the data of the room, with the HTML of all messages */
export function readPageData(main) {
  const { sharedData = {} } = /** @type {{sharedData?: object}} */ (globalThis);
  const data = JSON.parse(main.querySelector("#room-data")?.textContent ?? "{}");
  data.state.messages = data.state.messages.map((/** @type {{author: number}} */ message) => (
    { ...data.usual, ...message, author: data.authors[message.author] }
  ));
  readHtml(data.state.messages, main, "");
  return { ...sharedData, ...data };
}

/**
 * Adds to messages the HTML that the server has rendered in the page; the others have it already.
 * @param {import("../protocol.js").Message[]} messages @param {ParentNode} place @param {string} prefix of the ids
 */
export function readHtml(messages, place, prefix) {
  for (const message of messages) {
    const body = place.querySelector(`#${prefix}message-${message.id} [data-body]`);
    if (body) message.html = body.innerHTML;
  }
}

/** @returns {number} when the first byte of the data of a room arrived, or later, in local time */
export function arrivalTime() {
  const [entry] = performance.getEntriesByType("navigation");
  const isLoading = document.readyState !== "complete" && entry instanceof PerformanceNavigationTiming;
  return performance.timeOrigin + (isLoading ? entry.responseStart : performance.now());
}
