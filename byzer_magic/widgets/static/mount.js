// How a screen is placed in a page. The HTML of a cell has a mount, found by its attribute, into which the script puts
// its root; the notebook may render the cell again, or take it out of the page, at any time.

const DEAD_KERNEL = ["restarting", "autorestarting", "dead", "terminating"];
const LOOK_MS = 250;
const GONE_AFTER = 4000; // a cell that is cut and pasted is gone for a moment
const FIRST_FRAMES = 120;
const FOCUS_AFTER = 150; // JupyterLab has rendered an inserted cell by then

/**
 * What happened to the cell. `gone`: it was deleted; `dead`: the kernel has ended; `closed`: the notebook's tab was.
 * @typedef {object} MountEvents
 * @property {() => void} gone
 * @property {() => void} dead
 * @property {() => void} [closed]
 * @property {() => void} [placed]
 * @property {() => void} [tick]
 */

export class Mount {
  /**
   * @param {import("./kit.js").Model} model
   * @param {HTMLElement} root
   * @param {MountEvents} on
   */
  constructor(model, root, on) {
    this.model = model;
    this.root = root;
    this.on = on;
    /** @type {string} */
    this.id = model.get("state").mount;
    this.lostAt = 0;
    this.ended = false;
    this.frozen = false;
    /** @type {HTMLElement | null} */
    this.area = null;
    root.dataset.lmSuppressShortcuts = "true";
    root.addEventListener("keydown", (event) => this.key(event));
    this.session = model.widget_manager?.context?.sessionContext;
    this.onStatus = (/** @type {any} */ _, /** @type {string} */ status) => {
      if (DEAD_KERNEL.includes(status)) on.dead();
    };
    this.session?.statusChanged.connect(this.onStatus);
    this.timer = setInterval(() => this.look(), LOOK_MS);
    this.placeSoon(FIRST_FRAMES);
  }

  /** Leave the root where it is, until the notebook removes it. */
  freeze() {
    this.frozen = true;
  }

  end() {
    this.ended = true;
    clearInterval(this.timer);
    this.session?.statusChanged.disconnect(this.onStatus);
    this.leave();
    this.root.remove();
  }

  /**
   * The first time, with the next frame that has the mount.
   * @param {number} frames
   */
  placeSoon(frames) {
    if (!this.ended && !this.place() && frames) requestAnimationFrame(() => this.placeSoon(frames - 1));
  }

  /** Put the root into its mount; CSS hides what the cell has for readers without a kernel while it is there. */
  place() {
    if (this.root.isConnected) return true;
    const mount = document.querySelector(`[data-bz-mount="${this.id}"]`);
    if (!mount) return false;
    this.leave();
    mount.append(this.root);
    this.area = mount.closest(".jp-OutputArea, .output, .cell-output") ?? mount.parentElement;
    if (this.area) this.area.dataset.bzLive = this.id;
    this.on.placed?.();
    return true;
  }

  leave() {
    if (this.area) delete this.area.dataset.bzLive;
    this.area = null;
  }

  look() {
    const closed = this.model.widget_manager?.context?.isDisposed; // opened again, it gets its own mount
    if (closed || this.frozen) {
      if (closed || !this.root.isConnected) this.end();
      if (closed) this.on.closed?.();
      return;
    }
    const exists = this.place() || (this.book ? this.cellAt() >= 0 : Boolean(this.root.closest(".cell")));
    if (exists) this.lostAt = 0;
    else if (!this.lostAt) this.lostAt = performance.now();
    else if (performance.now() - this.lostAt > GONE_AFTER) {
      this.on.gone();
      return;
    }
    this.on.tick?.();
  }

  /**
   * Keep the notebook's shortcuts from acting on what is typed here, but for the one that saves it.
   * @param {KeyboardEvent} event
   */
  key(event) {
    event.stopPropagation();
    if (event.key.toLowerCase() !== "s" || !(event.ctrlKey || event.metaKey)) return;
    this.model.widget_manager?.context?.save?.();
    event.preventDefault();
  }

  get book() {
    return this.model.widget_manager?.context?.model?.sharedModel;
  }

  /** The cell's index in the notebook, also when it is too far away to be on the page; -1: it is not there. */
  cellAt() {
    /** @type {any[]} */
    const cells = this.book?.cells ?? [];
    return cells.findIndex((cell) => cell.cell_type === "code" && JSON.stringify(cell.outputs ?? []).includes(this.id));
  }

  /**
   * Insert cells below this one; false in front ends in which a script cannot.
   * @param {string[]} sources
   * @param {"code" | "markdown"} [kind]
   */
  insert(sources, kind = "code") {
    const at = this.cellAt();
    if (at < 0 || !this.book.insertCells) return false;
    this.book.insertCells(
      at + 1,
      sources.map((source) => ({ cell_type: kind, source, metadata: { trusted: true } })),
    );
    const cell = this.root.closest(".jp-Cell");
    const focused = document.activeElement;
    setTimeout(() => {
      if (document.activeElement !== focused) return; // the user has moved on
      /** @type {HTMLElement | null | undefined} */ (cell?.nextElementSibling?.querySelector(".cm-content"))?.focus();
    }, FOCUS_AFTER);
    return true;
  }
}
