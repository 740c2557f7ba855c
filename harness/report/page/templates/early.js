// Before anything is painted: the theme, so that a dark page never flashes.
try {
  const chosen = localStorage.getItem("vidpose-theme");
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = chosen || (dark ? "dark" : "light");
} catch { /* without storage the page starts light */ }
