// Light or dark: what the reader chose, or else what the system asks for.
function startTheme(button) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => { try { return localStorage.getItem("vidpose-theme"); } catch { return null; } };
  const apply = () => {
    const theme = stored() || (system.matches ? "dark" : "light");
    document.documentElement.dataset.theme = theme;
    button.textContent = theme === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-label", `Change to the ${theme === "dark" ? "light" : "dark"} theme`);
  };
  const toggle = () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("vidpose-theme", next); } catch { /* a page without storage forgets */ }
    document.documentElement.dataset.theme = next;
    button.textContent = next === "dark" ? "Light" : "Dark";
  };
  system.addEventListener("change", apply);
  button.addEventListener("click", toggle);
  apply();
  return toggle;
}
