// The table of a grid: sorting, and what is open. It is stored with the output and imports nothing. An update replaces
// the output and runs it again, so what the reader has chosen is kept in the page.
(() => {
  const found = document.currentScript?.parentElement;
  if (!found) return;
  const grid = found;
  /** @typedef {{ open: Record<string, boolean>, by: number, down: boolean }} Kept */
  const page = /** @type {Window & { bzGrids?: Record<string, Kept> }} */ (window);
  page.bzGrids ??= {};
  const key = grid.dataset.key ?? "";
  page.bzGrids[key] ??= { open: {}, by: -1, down: false };
  const kept = page.bzGrids[key];
  const words = JSON.parse(grid.dataset.words ?? "{}");
  const body = /** @type {HTMLElement} */ (grid.querySelector("tbody"));
  const rows = /** @type {HTMLElement[]} */ ([...body.children]);
  const values = new Map(rows.map((row) => [row, JSON.parse(row.dataset.sort ?? "[]")]));

  /**
   * Compare as numbers where both are; what is not known yet comes last.
   * @param {HTMLElement} one
   * @param {HTMLElement} other
   */
  function compare(one, other) {
    const [a, b] = [one, other].map((row) => values.get(row)[kept.by]);
    if (a === null || b === null) return Number(a === null) - Number(b === null);
    const order = typeof a === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
    return kept.down ? -order : order;
  }

  function arrange() {
    const ordered = [...rows];
    if (kept.by >= 0) ordered.sort(compare);
    else if (kept.down) ordered.reverse();
    body.append(...ordered);
  }

  const label = document.createElement("label");
  const select = document.createElement("select");
  for (const [place, name] of [words.order, ...JSON.parse(grid.dataset.sorts ?? "[]")].entries()) {
    const option = document.createElement("option");
    option.value = String(place - 1);
    option.textContent = name;
    select.append(option);
  }
  select.value = String(kept.by);
  select.addEventListener("change", () => {
    kept.by = Number(select.value);
    arrange();
  });
  label.append(words.sort, select);
  const reverse = document.createElement("button");
  reverse.type = "button";
  reverse.textContent = words.reverse;
  reverse.setAttribute("aria-pressed", String(kept.down));
  reverse.addEventListener("click", () => {
    kept.down = !kept.down;
    reverse.setAttribute("aria-pressed", String(kept.down));
    arrange();
  });
  if (rows.length > 1) {
    grid.firstElementChild?.after(label, reverse);
    arrange();
  }

  for (const fold of /** @type {NodeListOf<HTMLDetailsElement>} */ (grid.querySelectorAll("details[data-cell]"))) {
    const cell = fold.dataset.cell ?? "";
    fold.open = kept.open[cell] ?? false;
    fold.addEventListener("toggle", () => {
      kept.open[cell] = fold.open;
    });
    fold.firstElementChild?.addEventListener("click", () => {
      kept.open[cell] = !fold.open; // at once: an update may come before `toggle`
    });
  }
})();
