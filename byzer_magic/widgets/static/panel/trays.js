// The trays of a panel: the small form of an action, in a row below the deployment's own.
import { announce, find, hasFocus } from "../kit.js";

const CLOSE_AFTER = 5000;

/** @typedef {{tray: HTMLTableRowElement, button: HTMLElement}} Entry  `button` gets the focus back */

export class Trays {
  /**
   * @param {HTMLElement} root
   * @param {import("./rows.js").Rows} rows
   */
  constructor(root, rows) {
    this.root = root;
    this.rows = rows;
    /** @type {Map<string, Entry>} */
    this.open = new Map(); // by alias: a deployment has at most one
  }

  /**
   * Open the tray of an action; null where the same button has closed it.
   * @param {string} group
   * @param {string} what
   * @param {HTMLElement} button
   */
  show(group, what, button) {
    const before = this.open.get(group);
    this.close(group);
    if (before?.button === button && what !== "status") return null;
    const tray = document.createElement("tr");
    tray.className = "bz-tray";
    Object.assign(tray.dataset, { group, tray: what });
    const cell = document.createElement("td");
    cell.colSpan = this.root.querySelectorAll("thead th").length;
    const inner = find(this.root, `template[data-tray="${what}"]`).content.cloneNode(true);
    for (const node of inner.querySelectorAll("span")) node.textContent = node.textContent.replace("{alias}", group);
    cell.append(inner);
    tray.append(cell);
    const row = /** @type {HTMLElement} */ (button.closest("tr.bz-model, tr.bz-worker") ?? this.rows.row(group));
    row.after(tray);
    this.open.set(group, { tray, button: button.isConnected ? button : find(row, ".bz-more") });
    return tray;
  }

  /**
   * @param {string} group
   * @param {{focus?: boolean}} [options]  `focus`: give it back to the button
   */
  close(group, { focus = false } = {}) {
    const entry = this.open.get(group);
    if (!entry) return;
    this.open.delete(group);
    entry.tray.remove();
    if (focus) entry.button.focus();
  }

  /**
   * Close a tray whose action is done, unless the user is in it.
   * @param {HTMLTableRowElement} tray
   */
  closeSoon(tray) {
    setTimeout(() => {
      if (!hasFocus(tray)) tray.remove();
      const group = tray.dataset.group ?? "";
      if (this.open.get(group)?.tray === tray && !tray.isConnected) this.open.delete(group);
    }, CLOSE_AFTER);
  }

  /** @param {Set<string>} groups */
  keepOnly(groups) {
    for (const alias of this.open.keys()) if (!groups.has(alias)) this.open.delete(alias);
  }
}

/**
 * Show in a tray how its action is going.
 * @param {HTMLElement} tray
 * @param {string} text
 * @param {{failed?: boolean, log?: string}} [more]
 */
export function report(tray, text, { failed = false, log } = {}) {
  const line = find(tray, ".bz-status");
  announce(line, text);
  line.classList.toggle("bz-bad", failed);
  if (log === undefined) return;
  const place = find(tray, ".bz-log");
  place.textContent = log;
  place.scrollTop = place.scrollHeight;
}
