// @ts-check
// The choice of a theme: light, dark, or whatever the system says. Kept by this browser alone.

const KEY = "maru.theme";

/** Makes the theme buttons of the page work, and shows them: without a script they would be dead. */
export function startThemes() {
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
    // Storage is forbidden here: the choice lasts as long as the page.
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
