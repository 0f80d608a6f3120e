// @ts-check
// The welcome of a new member: a starter is written into the composer, and nothing is sent for the
// member. The welcome ends with the member's first message.

const WIDE = "(min-width: 768px)";

/**
 * @param {ParentNode} page
 * @param {HTMLTextAreaElement} field the text of the composer
 */
export function startWelcome(page, field) {
  const welcome = page.querySelector("[data-welcome]");
  if (!welcome) return;
  // A phone would show its keyboard over the room that the member has not seen yet.
  if (matchMedia(WIDE).matches && !location.hash) field.focus();
  welcome.addEventListener("click", (event) => {
    const starter = /** @type {Element} */ (event.target).closest("[data-starter]");
    if (!starter) return;
    event.preventDefault();
    const starters = [...welcome.querySelectorAll("[data-starter]")].map((each) => each.textContent?.trim() ?? "");
    field.focus();
    if (field.value.trim() && !starters.includes(field.value.trim())) return; // what the member has typed stays
    field.value = starter.textContent?.trim() ?? "";
    field.dispatchEvent(new Event("input", { bubbles: true }));
  });
  const form = /** @type {HTMLFormElement} */ (welcome.querySelector("[data-welcome-dismiss]"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    endWelcome(page);
    field.focus();
    // If the request fails, the next load of the page shows the welcome again.
    void fetch(form.action, { method: "POST", body: new FormData(form), redirect: "manual" }).catch(() => {});
  });
}

/** Removes the welcome from the page. @param {ParentNode} page */
export function endWelcome(page) {
  page.querySelector("[data-welcome]")?.remove();
}
