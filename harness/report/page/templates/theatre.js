// The failure theatre: choose a failure, look at it through time. It works on the data in #theatre-data alone.
function startTheatre(root) {
  const data = JSON.parse(document.getElementById("theatre-data").textContent);
  const pictures = new Pictures(160);
  const find = (selector) => root.querySelector(selector);
  const letters = data.runs.length > 1 ? ["A", "B"] : ["P"];
  const form = find(".filters");
  const list = find(".list");
  const screens = find(".screens");
  const film = find(".film");
  const range = find("input[type=range]");
  const view = { overlaid: false, zoom: true, truth: true, runs: [true, true] };
  const state = { shown: [], chosen: null, frame: 0, timer: null, pace: 4 };
  let thumbnails = [];

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const sequenceOf = (failure) => data.sequences[failure.sequence];
  const frameOf = (failure, position) => sequenceOf(failure).frames[position];
  const person = (people, failure) => (failure.track === null ? undefined : people.find((one) => one.track === failure.track));
  const numbered = (failure, position) => frameOf(failure, position).index;
  const span = (failure) => {
    const [first, last] = [numbered(failure, failure.first), numbered(failure, failure.last)];
    return first === last ? `frame ${first}` : `frames ${first}–${last}`;
  };
  const outcome = (failure, position, run) => {
    const truth = person(frameOf(failure, position).truth, failure);
    const code = truth ? truth.codes[run][failure.joint] : "-";
    return code === "-" ? null : data.classes[Number(code)];
  };

  // ---- filters: every choice says how many failures it would leave, the other filters as they are

  const fields = [
    { name: "joint", all: "every joint", options: data.joints.map((text, key) => [key, text]), keys: (f) => [f.joint] },
    { name: "wrong", all: "A or B", options: letters.map((letter, key) => [key, `${letter} is wrong`]), keys: (f) => [f.wrong] },
    { name: "class", all: "every error", options: data.classes.map((text, key) => [key, text]).slice(1), keys: (f) => f.classes },
    { name: "kind", all: "however long", options: data.kinds.map((text, key) => [key, text]), keys: (f) => [f.kind] },
    { name: "bin", all: "everywhere", options: data.bins.map((text, key) => [key, text.replaceAll("_", " ").replace(":", ": ")]), keys: (f) => f.bins },
    { name: "sequence", all: "all sequences", options: data.names.map((text, key) => [key, text]), keys: (f) => [f.sequence] },
  ].filter((field) => form.elements[field.name]);
  const ORDERS = {
    weight: ["largest difference first", (a, b) => b.weight - a.weight],
    length: ["longest first", (a, b) => b.last - b.first - (a.last - a.first) || b.weight - a.weight],
    sequence: ["by sequence and time", (a, b) => a.sequence - b.sequence || a.first - b.first || a.joint - b.joint],
  };
  data.failures.forEach((failure, number) => { failure.number = number; });

  const wanted = () => Object.fromEntries(fields.map((field) => [field.name, form.elements[field.name].value]));
  const passes = (failure, choice, except) =>
    fields.every((field) => field === except || choice[field.name] === "" || field.keys(failure).includes(Number(choice[field.name])));

  function fillField(field, choice) {
    const select = form.elements[field.name];
    const counts = new Map();
    for (const failure of data.failures) {
      if (!passes(failure, choice, field)) continue;
      for (const key of field.keys(failure)) counts.set(key, (counts.get(key) || 0) + 1);
    }
    const options = field.options
      .filter(([key]) => counts.has(key) || String(key) === choice[field.name])
      .map(([key, text]) => new Option(`${text} (${counts.get(key) || 0})`, key));
    select.replaceChildren(new Option(field.all, ""), ...options);
    select.value = choice[field.name];
    select.parentElement.classList.toggle("set", select.value !== "");
  }

  function refresh() {
    const choice = wanted();
    for (const field of fields) fillField(field, choice);
    state.shown = data.failures.filter((failure) => passes(failure, choice, null));
    state.shown.sort((a, b) => ORDERS[form.elements.order.value][1](a, b) || a.number - b.number);
    const more = data.total > data.failures.length ? `, the heaviest of ${data.total.toLocaleString("en")}` : "";
    find("[data-found]").textContent = `${state.shown.length.toLocaleString("en")} of ${data.failures.length.toLocaleString("en")}${more}`;
    list.replaceChildren(...state.shown.map(rowOf));
    if (!state.shown.length) list.append(make("p", { class: "nothing" }, "No failure fits these filters."));
    choose(state.shown.includes(state.chosen) ? state.chosen : state.shown[0] || null);
  }

  // ---- the list

  function rowOf(failure) {
    const names = failure.classes.map((code) => data.classes[code]).join(", ");
    const badge = make("span", { class: `mark run-${failure.wrong}` }, letters[failure.wrong]);
    const top = make("div", { class: "top" }, badge, make("span", { class: "joint" }, data.joints[failure.joint]), make("span", { class: "chip", title: names }, names),
      make("span", { class: "weight", title: "head sizes farther off, summed over frames" }, failure.weight.toFixed(1)));
    const who = failure.track === null ? "" : `, person ${failure.track}`;
    const under = make("div", { class: "under" }, `${sequenceOf(failure).name}${who}, ${span(failure)}`);
    const row = make("div", { class: "row", role: "option", id: `failure-${failure.number}`, "aria-selected": "false" }, top, under);
    row.addEventListener("click", () => { choose(failure); list.focus({ preventScroll: true }); });
    return row;
  }

  function choose(failure) {
    if (state.chosen) document.getElementById(`failure-${state.chosen.number}`)?.setAttribute("aria-selected", "false");
    const changed = failure !== state.chosen;
    state.chosen = failure;
    find(".show").hidden = !failure;
    if (!failure) { stop(); list.removeAttribute("aria-activedescendant"); remember(); return; }
    const row = document.getElementById(`failure-${failure.number}`);
    row.setAttribute("aria-selected", "true");
    list.setAttribute("aria-activedescendant", row.id);
    const [box, frame] = [row.getBoundingClientRect(), list.getBoundingClientRect()];
    if (box.top < frame.top) list.scrollTop -= frame.top - box.top + 6;
    if (box.bottom > frame.bottom) list.scrollTop += box.bottom - frame.bottom + 6;
    if (!changed && film.firstChild) return;
    const who = failure.track === null ? "" : `person ${failure.track}, `;
    find("[data-title]").textContent = data.joints[failure.joint].replace(/^./, (letter) => letter.toUpperCase());
    find("[data-subtitle]").textContent = `${sequenceOf(failure).name}, ${who}${span(failure)}; ${data.kinds[failure.kind] || "alone"}`;
    [range.min, range.max] = [failure.from, failure.to];
    buildFilm();
    go(failure.worst);
  }

  const step = (by) => {
    if (!state.shown.length) return;
    const at = state.shown.indexOf(state.chosen) + by;
    choose(state.shown[Math.min(Math.max(at, 0), state.shown.length - 1)]);
  };

  // ---- time

  function go(position) {
    const failure = state.chosen;
    if (!failure) return;
    state.frame = Math.min(Math.max(position, failure.from), failure.to);
    range.value = state.frame;
    const place = state.frame - failure.from;
    thumbnails.forEach((thumb, number) => {
      if (number === place) thumb.setAttribute("aria-current", "true"); else thumb.removeAttribute("aria-current");
    });
    const now = thumbnails[place];
    if (now) {
      const [left, right] = [now.offsetLeft - 60, now.offsetLeft + now.offsetWidth + 20];
      if (left < film.scrollLeft) film.scrollLeft = left;
      if (right > film.scrollLeft + film.clientWidth) film.scrollLeft = right - film.clientWidth;
    }
    const words = data.runs.map((_, run) => `${letters[run]} ${outcome(failure, state.frame, run) || "not labelled"}`).join(", ");
    const clock = `frame ${numbered(failure, state.frame)} (${place + 1} of ${failure.to - failure.from + 1})`;
    find("[data-clock]").textContent = clock;
    range.setAttribute("aria-valuetext", `${clock}: ${words}`);
    if (!state.timer) find("[data-says]").textContent = `${data.joints[failure.joint]}, ${clock}: ${words}`;
    paint();
    remember();
  }

  function play() {
    if (state.timer || !state.chosen) { stop(); return; }
    const advance = () => go(state.frame >= state.chosen.to ? state.chosen.from : state.frame + 1);
    state.timer = setInterval(advance, 1000 / state.pace);
    press("play", true);
    find("[data-tool=play]").textContent = "Pause";
  }

  function stop() {
    clearInterval(state.timer);
    state.timer = null;
    press("play", false);
    find("[data-tool=play]").textContent = "Play";
  }

  function pace(factor) {
    state.pace = Math.min(Math.max(state.pace * factor, 1), 32);
    if (state.timer) { stop(); play(); }
    find("[data-says]").textContent = `${state.pace} frames per second`;
  }

  // ---- drawing

  const screenList = () => {
    const shown = [];
    if (view.overlaid) return [{ name: "all", truth: view.truth, runs: view.runs.map((on, run) => on && run < data.runs.length) }];
    if (view.truth) shown.push({ name: "truth", truth: true, runs: [false, false] });
    data.runs.forEach((_, run) => { if (view.runs[run]) shown.push({ name: run, truth: false, runs: [run === 0, run === 1] }); });
    return shown;
  };

  function viewOf(failure, shape) {
    const size = sequenceOf(failure).size;
    if (!view.zoom || failure.track === null) return frameAround([], size, shape);
    const places = [];
    for (let position = failure.from; position <= failure.to; position += 1) {
      const frame = frameOf(failure, position);
      const poses = [person(frame.truth, failure), ...frame.predicted.map((poses) => person(poses, failure))];
      for (const pose of poses.filter(Boolean)) for (let joint = 0; joint < data.joints.length; joint += 1) places.push(placeOf(pose.joints, joint));
    }
    return frameAround(places.filter(Boolean), size, shape);
  }

  function drawScreen(canvas, failure, position, screen, { shape, width, overlaid }) {
    const frame = frameOf(failure, position);
    const size = sequenceOf(failure).size;
    const { context, unit } = prepare(canvas, viewOf(failure, shape), shape);
    drawPicture(context, pictures.get(frame.picture, paintSoon), size);
    const truth = person(frame.truth, failure);
    const layers = [];
    if (screen.truth) layers.push([frame.truth, overlaid ? "#ffffff" : null, overlaid]);
    screen.runs.forEach((on, run) => { if (on) layers.push([frame.predicted[run], overlaid ? RUN_COLOURS[run] : null, false]); });
    for (const [poses, colour] of layers) {
      for (const pose of poses) if (pose.track === null || pose.track !== failure.track) drawPose(context, unit, pose, data.bones, { colour, width: width * 0.7, faint: true });
    }
    for (const [poses, colour, dashed] of layers) {
      const pose = person(poses, failure);
      if (pose) drawPose(context, unit, pose, data.bones, { colour, width, dashed });
    }
    screen.runs.forEach((on, run) => {
      if (!on) return;
      const pose = person(frame.predicted[run], failure);
      const colour = overlaid ? RUN_COLOURS[run] : CLASS_COLOURS[outcome(failure, position, run)] || "#ffffff";
      drawFocus(context, unit, truth, failure.joint, pose && placeOf(pose.joints, failure.joint), { colour, width });
    });
    if (screen.truth && !screen.runs.some(Boolean)) drawFocus(context, unit, truth, failure.joint, null, { colour: "#fff", width });
  }

  function paint() {
    const failure = state.chosen;
    if (!failure) return;
    const wantedScreens = screenList();
    const key = JSON.stringify(wantedScreens.map((screen) => screen.name));
    if (screens.dataset.key !== key) buildScreens(wantedScreens, key);
    const size = sequenceOf(failure).size;
    const shape = wantedScreens.length === 1 ? Math.max(size[0] / size[1], 1.5) : wantedScreens.length === 2 ? 1.1 : 0.8;
    [...screens.children].forEach((figure, place) => {
      const screen = wantedScreens[place];
      const canvas = figure.querySelector("canvas");
      drawScreen(canvas, failure, state.frame, screen, { shape, width: 2.6, overlaid: view.overlaid });
      const what = screen.name === "truth" ? "truth" : screen.name === "all" ? null : outcome(failure, state.frame, screen.name) || "not labelled";
      canvas.setAttribute("aria-label", `${data.joints[failure.joint]} of frame ${numbered(failure, state.frame)}, ${what || "truth and predictions"}`);
      const label = figure.querySelector("[data-outcome]");
      if (label) label.textContent = `${data.runs[screen.name]}: ${what}`;
    });
  }

  function buildScreens(wantedScreens, key) {
    screens.dataset.key = key;
    screens.style.setProperty("--screens", Math.max(1, wantedScreens.length));
    screens.replaceChildren(...wantedScreens.map((screen) => {
      const caption = make("figcaption");
      if (screen.name === "truth") caption.append(make("span", { class: "mark truth" }, "T"), make("span", {}, "Truth"));
      else if (screen.name === "all") {
        if (view.truth) caption.append(make("span", { class: "mark truth" }, "T"));
        data.runs.forEach((name, run) => { if (view.runs[run]) caption.append(make("span", { class: `mark run-${run}`, title: name }, letters[run])); });
      } else caption.append(make("span", { class: `mark run-${screen.name}` }, letters[screen.name]), make("span", { "data-outcome": "" }));
      return make("figure", { class: "screen" }, make("canvas", { role: "img" }), caption);
    }));
  }

  let soon = 0;
  function paintSoon() {
    cancelAnimationFrame(soon);
    soon = requestAnimationFrame(() => { paint(); paintFilm(); });
  }

  // ---- the film: a thumbnail of every frame, and under it what became of the joint in either run

  function buildFilm() {
    const failure = state.chosen;
    const positions = Array.from({ length: failure.to - failure.from + 1 }, (_, place) => failure.from + place);
    thumbnails = positions.map((position) => {
      const button = make("button", { type: "button", class: "thumb", tabindex: "-1", "aria-label": `Frame ${numbered(failure, position)}` },
        make("canvas", { "aria-hidden": "true" }), make("span", {}, numbered(failure, position)));
      button.classList.toggle("inside", position >= failure.first && position <= failure.last);
      button.addEventListener("click", () => go(position));
      return button;
    });
    const rows = [make("tr", {}, make("th", {}), ...thumbnails.map((thumb) => make("td", {}, thumb)))];
    data.runs.forEach((name, run) => {
      const head = make("th", { scope: "row", title: name }, make("span", { class: `mark run-${run}` }, letters[run]));
      rows.push(make("tr", {}, head, ...positions.map((position) => {
        const word = outcome(failure, position, run);
        return make("td", {}, make("span", { class: `cell ${word || "none"}`, title: word ? `${word}: ${data.meanings[word]}` : "not labelled" }, word || "–"));
      })));
    });
    film.replaceChildren(make("table", { "aria-label": "Outcome of the joint, frame by frame" }, make("tbody", {}, ...rows)));
    film.scrollLeft = 0;
    paintFilm();
  }

  function paintFilm() {
    const failure = state.chosen;
    if (!failure) return;
    const screen = { truth: view.truth, runs: view.runs.map((on, run) => on && run < data.runs.length) };
    thumbnails.forEach((thumb, place) => {
      drawScreen(thumb.querySelector("canvas"), failure, failure.from + place, screen, { shape: 1.1, width: 1.1, overlaid: true });
    });
  }

  // ---- controls

  const press = (tool, on) => find(`[data-tool="${tool}"]`)?.setAttribute("aria-pressed", String(on));
  const tools = {
    play,
    view: () => { view.overlaid = !view.overlaid; press("view", view.overlaid); },
    zoom: () => { view.zoom = !view.zoom; press("zoom", view.zoom); },
    truth: () => { view.truth = !view.truth; press("truth", view.truth); },
    "run-0": () => toggleRun(0),
    "run-1": () => toggleRun(1),
  };
  function toggleRun(run) {
    if (run >= data.runs.length) return;
    view.runs[run] = !view.runs[run];
    press(`run-${run}`, view.runs[run]);
  }
  function use(tool) {
    tools[tool]();
    if (tool === "play") return;
    delete screens.dataset.key;
    paint();
    paintFilm();
  }
  function reset() {
    for (const field of fields) form.elements[field.name].value = "";
    refresh();
  }
  function showSequence(number) {
    for (const field of fields) form.elements[field.name].value = "";
    form.elements.sequence.append(new Option("", number));
    form.elements.sequence.value = number;
    refresh();
    root.closest("section").scrollIntoView();
  }

  // The address keeps the place, so that a colleague can be sent to it.
  function remember() {
    const choice = Object.entries(wanted()).filter(([, value]) => value !== "");
    if (state.chosen) choice.push(["failure", state.chosen.number], ["frame", state.frame]);
    try { history.replaceState(null, "", `#${new URLSearchParams(choice)}`); } catch { /* some viewers forbid it */ }
  }
  function recall() {
    const asked = new URLSearchParams(location.hash.slice(1));
    for (const field of fields) {
      const select = form.elements[field.name];
      if (asked.has(field.name)) select.append(new Option("", asked.get(field.name)));
      select.value = asked.get(field.name) ?? "";
    }
    const failure = data.failures[Number(asked.get("failure") ?? NaN)];
    const frame = asked.get("frame");
    return () => { if (failure && state.shown.includes(failure)) { choose(failure); if (frame !== null) go(Number(frame)); } };
  }

  form.addEventListener("change", refresh);
  form.addEventListener("submit", (event) => event.preventDefault());
  find("[data-reset]").addEventListener("click", reset);
  range.addEventListener("input", () => go(Number(range.value)));
  for (const button of root.querySelectorAll("[data-tool]")) button.addEventListener("click", () => use(button.dataset.tool));
  new ResizeObserver(paintSoon).observe(screens);
  list.addEventListener("keydown", (event) => {
    const move = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
    if (!move) return;
    event.preventDefault();
    step(move);
  });

  const limbs = [["left arm", "#e69f00"], ["right arm", "#56b4e9"], ["left leg", "#d55e00"], ["right leg", "#0072b2"], ["trunk, head", "#009e73"]];
  find("[data-legend]").append(
    ...limbs.map(([name, colour]) => { const swatch = make("i"); swatch.style.background = colour; return make("span", {}, swatch, name); }),
    make("span", {}, "○ dashed: within half a head size it counts"), make("span", {}, "● black joint: hidden"));

  form.elements.order.replaceChildren(...Object.entries(ORDERS).map(([key, [text]]) => new Option(text, key)));
  const resume = recall();
  refresh();
  resume();
  return { step, go: (by) => go(state.frame + by), end: (last) => state.chosen && go(last ? state.chosen.to : state.chosen.from),
    worst: () => state.chosen && go(state.chosen.worst), use, pace, reset, showSequence, focusFilters: () => form.elements.joint.focus(),
    focusList: () => list.focus(), show: () => find(".show").scrollIntoView({ block: "nearest" }) };
}
