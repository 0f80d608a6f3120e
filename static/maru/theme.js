// @ts-check
// A classic script that runs before the first paint and sets the stored theme on <html>. A module would
// run after the first paint, so the page would first appear in the other theme.
(() => {
  try {
    const theme = localStorage.getItem("maru.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage is not permitted: use the theme of the system.
  }
})();
