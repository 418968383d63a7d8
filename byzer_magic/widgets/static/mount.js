// How a script of the package lives in a page; this file is put before each of them. A cell's HTML has a mount, found
// by an attribute, into which the script draws; the notebook may draw the cell anew, or take it out of sight, any time.

const DEAD_KERNEL = ["restarting", "autorestarting", "dead", "terminating"];
const LOOK_MS = 250;
const GONE_AFTER = 4000;  // a cell that is cut and pasted is gone for a moment
const FIRST_FRAMES = 120;

class Mount {
  /** `on.gone`: the cell has been deleted; `on.dead`: the kernel has ended; `on.closed` (the notebook's tab has been),
   *  `on.placed` and `on.tick` if they matter. */
  constructor(model, root, on) {
    this.model = model;
    this.root = root;
    this.on = on;
    this.id = model.get("state").mount;
    this.lost = 0;
    root.dataset.lmSuppressShortcuts = "true";
    root.addEventListener("keydown", (event) => this.key(event));
    this.session = model.widget_manager?.context?.sessionContext;
    this.onStatus = (_, status) => { if (DEAD_KERNEL.includes(status)) on.dead(); };
    this.session?.statusChanged.connect(this.onStatus);
    this.timer = setInterval(() => this.look(), LOOK_MS);
    this.soon(FIRST_FRAMES);
  }

  /** Leave the root where it is, until the notebook takes it away. */
  freeze() { this.frozen = true; }

  end() {
    this.ended = true;
    clearInterval(this.timer);
    this.session?.statusChanged.disconnect(this.onStatus);
    this.leave();
    this.root.remove();
  }

  /** The first time, with the next frame that has the mount. */
  soon(frames) {
    if (!this.ended && !this.place() && frames) requestAnimationFrame(() => this.soon(frames - 1));
  }

  /** Put the root into its mount; what the cell has for readers without a kernel is hidden as long as it is there. */
  place() {
    if (this.root.isConnected) return true;
    const mount = document.querySelector(`[data-bz-mount="${this.id}"]`);
    if (!mount) return false;
    this.leave();
    mount.append(this.root);
    this.area = mount.closest(".jp-OutputArea, .output, .cell-output") ?? mount.parentElement;
    this.area.dataset.bzLive = this.id;
    this.on.placed?.();
    return true;
  }

  leave() {
    if (this.area) delete this.area.dataset.bzLive;
    this.area = null;
  }

  look() {
    const closed = this.model.widget_manager?.context?.isDisposed;  // opened again, it gets a mount of its own
    if (closed || this.frozen) {
      if (closed || !this.root.isConnected) this.end();
      if (closed) this.on.closed?.();
      return;
    }
    const there = this.place() || (this.book ? this.cellAt() >= 0 : Boolean(this.root.closest(".cell")));
    if (there) this.lost = 0;
    else if (!this.lost) this.lost = performance.now();
    else if (performance.now() - this.lost > GONE_AFTER) { this.on.gone(); return; }
    this.on.tick?.();
  }

  /** The notebook's keys must not act on what is typed here, but for the one that saves it. */
  key(event) {
    event.stopPropagation();
    if (event.key.toLowerCase() !== "s" || !(event.ctrlKey || event.metaKey)) return;
    this.model.widget_manager?.context?.save?.();
    event.preventDefault();
  }

  get book() { return this.model.widget_manager?.context?.model?.sharedModel; }

  /** Where the cell is in the notebook, also when it is too far away to be on the page; -1: nowhere. */
  cellAt() {
    const cells = this.book?.cells ?? [];
    return cells.findIndex((cell) => cell.cell_type === "code" && JSON.stringify(cell.outputs ?? []).includes(this.id));
  }

  /** Put cells below this one and return true, in front ends that let a script do that. */
  insert(sources, kind = "code") {
    const at = this.cellAt();
    if (at < 0 || !this.book.insertCells) return false;
    this.book.insertCells(at + 1, sources.map((source) => ({ cell_type: kind, source, metadata: { trusted: true } })));
    const cell = this.root.closest(".jp-Cell");
    const focused = document.activeElement;
    setTimeout(() => {  // the cell is there by now; whoever has gone on to something else is left there
      if (document.activeElement === focused) cell?.nextElementSibling?.querySelector(".cm-content")?.focus();
    }, 150);
    return true;
  }
}
