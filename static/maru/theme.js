// @ts-check
// A classic script that runs before the first paint and sets the stored theme on <html>. A module would
// run later, and the page would flash in the other theme.
(() => {
  try {
    const theme = localStorage.getItem("maru.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage is not permitted: use the theme of the system.
  }
})();
