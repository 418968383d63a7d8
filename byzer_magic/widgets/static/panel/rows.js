// The table of a panel: rows and cells that the kernel has rendered, put where they belong.
import { find } from "../kit.js";

/** @typedef {Record<string, Record<string, string>>} Cells  HTML by row and by cell */

export class Rows {
  /** @param {HTMLTableSectionElement} body */
  constructor(body) {
    this.body = body;
  }

  /** @returns {HTMLTableRowElement[]} */
  get all() {
    return /** @type {any} */ ([...this.body.children]);
  }

  /**
   * @param {string | undefined} key
   * @returns {HTMLTableRowElement | undefined}
   */
  row(key) {
    return this.all.find((row) => row.dataset.key === key);
  }

  /**
   * Bring rows into an order. Those that exist stay as they are, with their focus and their trays.
   * @param {string[]} order
   * @param {Record<string, string>} fresh  the HTML of rows that may not exist yet
   */
  arrange(order, fresh = {}) {
    const wanted = new Set(order);
    const groups = groupsOf(order);
    for (const row of this.all) {
      const { key, group = "" } = row.dataset;
      if (!(key ? wanted.has(key) : groups.has(group))) row.remove();
    }
    let place = this.body.firstElementChild;
    for (const key of order) {
      const row = this.row(key) ?? this.create(fresh[key] ?? "");
      if (!row) continue;
      if (row === place) place = place.nextElementSibling;
      else this.body.insertBefore(row, place);
      while (place && !(/** @type {HTMLElement} */ (place).dataset.key)) place = place.nextElementSibling; // a tray stays behind its row
    }
    for (const row of this.all) {
      if (!row.classList.contains("bz-model")) continue;
      find(row, ".bz-twist").setAttribute("aria-expanded", String(wanted.has(`${row.dataset.group}/~`)));
    }
  }

  /** @param {string} html */
  create(html) {
    const holder = document.createElement("tbody");
    holder.innerHTML = html;
    const row = /** @type {HTMLTableRowElement | null} */ (holder.firstElementChild);
    if (row) mark(row);
    return row;
  }

  /** @param {Cells} cells */
  patch(cells) {
    for (const [key, changed] of Object.entries(cells)) {
      const row = this.row(key);
      if (!row) continue;
      for (const [name, html] of Object.entries(changed)) {
        const cell = row.querySelector(`[data-cell="${name}"]`);
        if (cell) cell.innerHTML = html;
      }
      if ("model" in changed) mark(row);
    }
  }

  /**
   * Show the deployments whose alias has a text in it.
   * @param {string} sought
   */
  filter(sought) {
    const text = sought.trim().toLowerCase();
    for (const row of this.all) {
      const name = this.row(row.dataset.group)?.querySelector("td, th")?.textContent ?? "";
      row.hidden = text !== "" && !name.toLowerCase().includes(text);
    }
  }
}

/**
 * Return the aliases of row keys such as `alias` and `alias/0`.
 * @param {string[]} order
 */
export function groupsOf(order) {
  return new Set(order.map((key) => key.split("/")[0]));
}

/** @param {HTMLElement} row */
function mark(row) {
  row.classList.toggle("bz-stale-row", row.querySelector(".bz-sign.bz-stale") !== null);
}
