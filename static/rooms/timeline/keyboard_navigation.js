// @ts-check
// The conversation is one stop of the Tab key: arrows walk from message to message, and Tab leads into
// the buttons and links of the one that has the focus.

/** @param {HTMLElement} timeline */
export function startWalking(timeline) {
  const articles = () => /** @type {HTMLElement[]} */ ([...timeline.querySelectorAll(".message")]);
  timeline.addEventListener("focusin", (event) => {
    const article = /** @type {Element} */ (event.target).closest(".message");
    if (article instanceof HTMLElement) settle(articles(), article);
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
  // The newest is the nearest to the composer, and its answer the one to be stopped.
  const settleLast = () => {
    const all = articles();
    settle(all, all.find((article) => article.contains(document.activeElement)) ?? all.at(-1));
  };
  // Nothing outside a message is a stop of its own, and new messages come without one.
  new MutationObserver(settleLast).observe(timeline, { childList: true, subtree: true });
  settleLast();
}

/** @param {HTMLElement[]} articles @param {HTMLElement | undefined} stop */
function settle(articles, stop) {
  for (const article of articles) {
    const isStop = article === stop;
    article.tabIndex = isStop ? 0 : -1;
    for (const inside of article.querySelectorAll("a, button, summary")) {
      /** @type {HTMLElement} */ (inside).tabIndex = isStop ? 0 : -1;
    }
  }
}
