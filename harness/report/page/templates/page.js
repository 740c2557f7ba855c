// What ties the page together: keys, help, the section one is in.
function startPage() {
  const toggleTheme = startTheme(document.getElementById("theme"));
  document.querySelectorAll("[data-table]").forEach(startTable);
  const root = document.querySelector("[data-theatre]");
  const theatre = root ? startTheatre(root) : null;
  const help = document.getElementById("help");
  const openHelp = () => (help.open ? help.close() : help.showModal());
  document.getElementById("help-button").addEventListener("click", openHelp);
  for (const button of document.querySelectorAll("[data-sequence]")) {
    if (theatre) button.addEventListener("click", () => theatre.showSequence(button.dataset.sequence));
  }

  const keys = {
    "?": openHelp, d: toggleTheme, "/": () => document.querySelector("#tables input[type=search]")?.focus(),
    ...(theatre && {
      j: () => theatre.step(1), k: () => theatre.step(-1), ArrowRight: () => theatre.go(1), ArrowLeft: () => theatre.go(-1),
      Home: () => theatre.end(false), End: () => theatre.end(true), w: theatre.worst, p: () => theatre.use("play"),
      v: () => theatre.use("view"), z: () => theatre.use("zoom"), 1: () => theatre.use("truth"), 2: () => theatre.use("run-0"),
      3: () => theatre.use("run-1"), "+": () => theatre.pace(2), "-": () => theatre.pace(0.5), f: theatre.focusFilters,
      l: theatre.focusList, r: theatre.reset,
    }),
  };
  const ownKeys = new Set(["Home", "End"]);
  const elsewhere = new Set(["?", "d", "/", "f", "l", "r"]);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || (help.open && event.key !== "?")) return;
    const target = event.target;
    if (target.closest("input:not([type=range]), select, textarea")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    const inside = root && root.contains(target);
    if (target.closest(".scroll") && event.key.startsWith("Arrow")) return;
    if (ownKeys.has(event.key) && !inside) return;
    const act = inside && event.key === " " && !target.closest("button") ? keys.p : keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
    if (theatre && !elsewhere.has(event.key)) theatre.show();  // a key from anywhere on the page is answered in sight
  });

  const links = [...document.querySelectorAll(".bar a")];
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links) {
        if (link.hash === `#${entry.target.id}`) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
      }
    }
  }, { rootMargin: "-20% 0px -75% 0px" });
  document.querySelectorAll("main > section").forEach((section) => watch.observe(section));
  document.documentElement.dataset.ready = "true";
}

startPage();
