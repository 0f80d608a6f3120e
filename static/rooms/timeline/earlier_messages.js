// @ts-check
// Loads earlier messages: fetches the server's page with them and moves its messages into this page.

/**
 * @param {HTMLElement} timeline
 * @param {(page: {articles: HTMLElement[], data: any}, put: () => void) => void} onPage
 */
export function startEarlierMessages(timeline, onPage) {
  const link = timeline.querySelector("[data-earlier]");
  if (!(link instanceof HTMLAnchorElement)) return;
  link.addEventListener("click", async (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (link.getAttribute("aria-busy") === "true") return;
    link.setAttribute("aria-busy", "true");
    try {
      const page = await fetchPage(link.href);
      onPage(page, () => link.after(...page.nodes));
      link.hidden = !page.next;
      if (page.next) link.href = page.next;
    } catch {
      location.assign(link.href); // open the page instead: the browser shows the error
    } finally {
      link.removeAttribute("aria-busy");
    }
  });
}

/** @param {string} address */
async function fetchPage(address) {
  const answer = await fetch(address);
  if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const data = JSON.parse(page.getElementById("room-data")?.textContent ?? "{}");
  const lines = page.querySelectorAll(".timeline > :is(.message, .timeline-day)");
  const nodes = [...lines].map((node) => /** @type {HTMLElement} */ (document.adoptNode(node)));
  const next = page.querySelector("[data-earlier]:not([hidden])")?.getAttribute("href") ?? "";
  const articles = nodes.filter((node) => node.matches(".message"));
  return { nodes, articles, data, next };
}
