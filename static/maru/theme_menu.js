// @ts-check
// The menu for the theme: light, dark, or the theme of the system. The choice is stored in this browser only.

const KEY = "maru.theme";

/** Enables and shows the theme buttons, which do nothing without scripts. */
export function startThemeMenu() {
  for (const group of document.querySelectorAll("[data-themes]")) {
    group.removeAttribute("hidden");
    group.addEventListener("click", (event) => {
      const button = /** @type {Element} */ (event.target).closest("[data-theme-choice]");
      if (button instanceof HTMLElement) choose(button.dataset.themeChoice ?? "system");
    });
  }
  show();
}

/** @param {string} theme */
function choose(theme) {
  const page = document.documentElement;
  if (theme === "system") delete page.dataset.theme;
  else page.dataset.theme = theme;
  try {
    if (theme === "system") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, theme);
  } catch {
    // Storage is not permitted: the choice lasts until the page is left.
  }
  show();
}

function show() {
  const chosen = document.documentElement.dataset.theme ?? "system";
  for (const button of document.querySelectorAll("[data-theme-choice]")) {
    const pressed = button instanceof HTMLElement && button.dataset.themeChoice === chosen;
    button.setAttribute("aria-pressed", String(pressed));
  }
}
