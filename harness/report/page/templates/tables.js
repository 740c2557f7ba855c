// Tables that sort by their headings and filter by a word.
function startTable(figure) {
  const body = figure.querySelector("tbody");
  const rows = [...body.rows];
  const headings = [...figure.querySelectorAll("thead th")];
  const count = figure.querySelector("[data-count]");
  const search = figure.querySelector("input[type=search]");

  const value = (row, column) => {
    const text = row.cells[column].dataset.value;
    const number = Number(text);
    return text === "" ? null : Number.isNaN(number) ? text : number;
  };
  // Numbers before words; a cell without a value comes last in either direction.
  const compare = (a, b, sign) => {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return sign * (typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true }));
  };
  const sort = (column) => {
    const before = headings[column].getAttribute("aria-sort");
    const direction = before === "none" ? (column ? "descending" : "ascending") : before === "ascending" ? "descending" : "ascending";
    headings.forEach((heading, place) => heading.setAttribute("aria-sort", place === column ? direction : "none"));
    const sign = direction === "ascending" ? 1 : -1;
    const keyed = rows.map((row, place) => [value(row, column), place, row]);
    keyed.sort((a, b) => compare(a[0], b[0], sign) || a[1] - b[1]);
    body.append(...keyed.map((entry) => entry[2]));
  };
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = words.length ? `${shown} of ${rows.length}` : "";
  };
  headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => sort(column)));
  if (search) search.addEventListener("input", filter);
}
