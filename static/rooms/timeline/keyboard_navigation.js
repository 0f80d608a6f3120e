// @ts-check
// The timeline is one tab stop (roving tabindex): arrow keys move between messages, and Tab enters the
// buttons and links of the focused message.

/** @param {HTMLElement} timeline @param {(article: HTMLElement) => void} onStop is called with the message that is the tab stop */
export function startKeyboardNavigation(timeline, onStop) {
  const articles = () => /** @type {HTMLElement[]} */ ([...timeline.querySelectorAll(".message")]);
  timeline.addEventListener("focusin", (event) => {
    const article = /** @type {Element} */ (event.target).closest(".message");
    if (article instanceof HTMLElement) stopAt(articles(), article);
  });
  timeline.addEventListener("keydown", (event) => {
    const at = articles().indexOf(/** @type {HTMLElement} */ (event.target));
    if (at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const to = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: articles().length - 1 }[event.key];
    const next = to === undefined ? undefined : articles()[to];
    if (to === undefined) return;
    event.preventDefault();
    next?.focus();
  });
  // The last message is the initial tab stop: it is next to the composer, and its Stop button is needed most.
  const settleLast = () => {
    const all = articles();
    stopAt(all, all.find((article) => article.contains(document.activeElement)) ?? all.at(-1));
  };
  /** @param {HTMLElement[]} all @param {HTMLElement | undefined} stop */
  function stopAt(all, stop) {
    settle(all, stop);
    if (stop) onStop(stop);
  }
  // New messages and their buttons are rendered without a tabindex. The text of an answer changes in each frame.
  const isText = (/** @type {MutationRecord} */ { target }) => /** @type {Element} */ (target).closest("[data-body]") !== null;
  new MutationObserver((records) => records.every(isText) || settleLast()).observe(timeline, { childList: true, subtree: true });
  settleLast();
}

/** @param {HTMLElement[]} articles @param {HTMLElement | undefined} stop */
function settle(articles, stop) {
  for (const article of articles) {
    const isStop = article === stop;
    article.tabIndex = isStop ? 0 : -1;
    for (const inside of article.querySelectorAll("a[href], button, summary")) {
      /** @type {HTMLElement} */ (inside).tabIndex = isStop ? 0 : -1;
    }
  }
}
