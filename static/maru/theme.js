// @ts-check
// A classic script, run before the first paint: a theme chosen in this browser is put on <html>,
// so that no other theme is ever seen. Modules run too late for that.
(() => {
  try {
    const theme = localStorage.getItem("maru.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage is forbidden here: the system's theme it is.
  }
})();
