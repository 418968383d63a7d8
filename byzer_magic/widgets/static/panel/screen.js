// The live panel: it puts what the kernel renders into its mount, and sends back what the user clicks.
import { Channel, fill, find, setAlert } from "../kit.js";
import { Mount } from "../mount.js";
import { groupsOf, Rows } from "./rows.js";
import { report, Trays } from "./trays.js";

const HIDDEN_AFTER = 4000; // a panel that is scrolled past is not hidden
const SILENT_AFTER = 8000;
const QUEUED_AFTER = 600;
const AT_ONCE = ["restart", "sleep", "wake"]; // nothing is asked first

/**
 * A click or a form that the kernel has not done yet.
 * @typedef {{button: HTMLElement, tray: HTMLTableRowElement | null, timer: number, title: string}} Waiting
 */

export class Panel {
  /** @param {import("../kit.js").Model} model */
  constructor(model) {
    const { words, frame } = model.get("state");
    /** @type {import("../kit.js").Words} */
    this.words = words;
    /** @type {Map<number, Waiting>} */
    this.waiting = new Map();
    this.lastMessageAt = performance.now();
    this.ended = false;
    this.error = "";
    /** @type {boolean | null} */
    this.visible = null; // as the kernel knows it
    this.near = true;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.hiding = undefined;
    this.root = document.createElement("div");
    this.root.className = "bz-panel";
    this.root.innerHTML = frame;
    this.rows = new Rows(find(this.root, "tbody"));
    this.trays = new Trays(this.root, this.rows);
    this.root.addEventListener("click", (event) => this.click(event));
    this.root.addEventListener("submit", (event) => this.submit(event));
    this.root.addEventListener("keydown", (event) => this.key(event));
    find(this.root, ".bz-filter").addEventListener("input", () => this.filter());
    this.observer = new IntersectionObserver((entries) => {
      this.near = entries.at(-1)?.isIntersecting ?? true;
      this.look();
    });
    this.observer.observe(this.root);
    this.onVisibility = () => this.look();
    document.addEventListener("visibilitychange", this.onVisibility);
    this.onLeave = () => {
      if (this.visible) this.sendVisible(false);
    };
    window.addEventListener("pagehide", this.onLeave);
    this.channel = new Channel(model, {
      update: (message) => this.update(message),
      reply: (message) => this.reply(message),
      end: () => this.end(),
    });
    const end = () => this.end();
    const on = { gone: () => this.close(), dead: end, closed: end, placed: () => this.look(), tick: () => this.tick() };
    this.mount = new Mount(model, this.root, on);
    this.channel.send("ready");
  }

  /** Close it here at once; the kernel follows. */
  close() {
    this.channel.send("close");
    this.end();
  }

  end() {
    if (this.ended) return;
    this.ended = true;
    clearTimeout(this.hiding);
    this.observer.disconnect();
    document.removeEventListener("visibilitychange", this.onVisibility);
    window.removeEventListener("pagehide", this.onLeave);
    this.channel.close();
    this.mount.end();
  }

  // ---- whether the user can see it

  tick() {
    const silent = performance.now() - this.lastMessageAt;
    const late = this.visible && silent > SILENT_AFTER;
    this.alarm(late ? fill(this.words.silent, { age: `${Math.round(silent / 1000)} s` }) : this.error);
  }

  look() {
    const visible = this.root.isConnected && document.visibilityState === "visible" && this.near;
    clearTimeout(this.hiding);
    if (visible && !this.visible) this.sendVisible(true);
    if (!visible && this.visible) this.hiding = setTimeout(() => this.sendVisible(false), HIDDEN_AFTER);
  }

  /** @param {boolean} visible */
  sendVisible(visible) {
    if (visible) this.lastMessageAt = performance.now();
    this.visible = visible;
    this.channel.send("visible", { visible });
  }

  // ---- from the kernel

  /** @param {any} message  what has changed; see `table.difference` in Python */
  update({ order, rows, cells, summary, error, many }) {
    this.lastMessageAt = performance.now();
    const focused = /** @type {HTMLElement | null} */ (document.activeElement);
    if (order) {
      this.rows.arrange(order, rows);
      this.trays.keepOnly(groupsOf(order));
    }
    this.rows.patch(cells ?? {});
    if (summary !== undefined) find(this.root, ".bz-summary").textContent = summary;
    if (error !== undefined) {
      this.error = error;
      this.alarm(error);
    }
    if (many !== undefined) find(this.root, ".bz-filter").hidden = !many;
    if (!order) return;
    find(this.root, ".bz-scroll").hidden = !order.length;
    this.filter();
    if (focused !== document.activeElement && this.root.contains(focused)) focused?.focus({ preventScroll: true });
  }

  /** @param {{id: number, state: string, text?: string, log?: string}} message */
  reply({ id, state, text = "", log }) {
    this.lastMessageAt = performance.now();
    const entry = this.waiting.get(id);
    if (!entry) return;
    clearTimeout(entry.timer);
    entry.button.title = entry.title;
    if (state !== "going") {
      entry.button.removeAttribute("aria-busy");
      this.waiting.delete(id);
    }
    if (!entry.tray) return;
    report(entry.tray, text, { failed: state === "failed", log });
    if (state === "done" && entry.tray.dataset.tray !== "logs") this.trays.closeSoon(entry.tray);
  }

  /** @param {string} text */
  alarm(text) {
    setAlert(find(this.root, ".bz-alarm"), text);
  }

  filter() {
    this.rows.filter(find(this.root, ".bz-filter").value);
  }

  // ---- from the user

  /** @param {MouseEvent} event */
  click(event) {
    const button = /** @type {HTMLElement} */ (event.target).closest("button");
    const what = button?.dataset.do;
    if (!button || !what) return;
    const row = button.closest("tr");
    const group = row?.dataset.group ?? "";
    const isWorker = row?.classList.contains("bz-worker");
    if (what === "cancel") this.trays.close(group, { focus: true });
    else if (what === "close") this.close();
    else if (what === "chat") this.insert(group, `%byzer chat ${group}`);
    else if (what === "new") this.insert("", "%byzer form");
    else if (what === "toggle") {
      this.ask(button, "open", { model: group, open: button.getAttribute("aria-expanded") !== "true" });
    } else if (isWorker) this.act(button, group, what, { worker: Number(row?.dataset.key?.split("/").at(-1)) });
    else if (AT_ONCE.includes(what)) this.act(button, group, what);
    else this.open(group, what, button);
  }

  /** @param {SubmitEvent} event */
  submit(event) {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.target);
    const tray = /** @type {HTMLTableRowElement} */ (form.closest("tr"));
    const what = tray.dataset.tray ?? "";
    if (what === "line" || what === "status") return;
    const value = Number(/** @type {any} */ (form.elements.namedItem("value"))?.value ?? 0);
    this.ask(event.submitter ?? find(tray, "form button"), what, { model: tray.dataset.group, value }, tray);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const target = /** @type {HTMLInputElement} */ (event.target);
    const tray = /** @type {HTMLElement | null} */ (target.closest(".bz-tray"));
    if (!tray) return;
    if (event.key === "Escape") this.trays.close(tray.dataset.group ?? "", { focus: true });
    else if (event.key === "Enter" && target.tagName === "INPUT")
      target.form?.requestSubmit(); // notebooks take Enter
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /**
   * Do something at once, and show below the row how it is going.
   * @param {HTMLElement} button
   * @param {string} group
   * @param {string} what
   * @param {object} [more]
   */
  act(button, group, what, more = {}) {
    this.ask(button, what, { model: group, ...more }, this.trays.show(group, "status", button));
  }

  /**
   * @param {HTMLElement} button
   * @param {string} type
   * @param {object} fields
   * @param {HTMLTableRowElement | null} [tray]
   */
  ask(button, type, fields, tray = null) {
    const id = this.channel.send(type, fields);
    const { title } = button;
    button.setAttribute("aria-busy", "true");
    const timer = window.setTimeout(() => {
      button.title = this.words.queued;
      if (tray) report(tray, this.words.queued);
    }, QUEUED_AFTER);
    this.waiting.set(id, { button, tray, timer, title });
  }

  /**
   * Open the form of an action below its row; the same button again closes it.
   * @param {string} group
   * @param {string} what
   * @param {HTMLElement} button
   */
  open(group, what, button) {
    const tray = this.trays.show(group, what, button);
    if (!tray) return;
    if (what === "more") this.hideUseless(group, tray);
    if (what === "scale") {
      const input = find(tray, "input");
      input.value = this.rows.row(group)?.querySelector("[data-workers]")?.getAttribute("data-workers") ?? 1;
      input.focus();
      input.select();
    } else if (what === "logs") this.ask(find(tray, "form button"), "logs", { model: group }, tray);
    else find(tray, "form button").focus();
  }

  /**
   * Leave out of the list of actions what the row does not offer now either.
   * @param {string} group
   * @param {HTMLElement} tray
   */
  hideUseless(group, tray) {
    const row = this.rows.row(group);
    const local = !!row?.querySelector("[data-local]");
    const asleep = !!row?.querySelector(".bz-sign.bz-asleep");
    for (const [what, useful] of Object.entries({ sleep: local && !asleep, wake: local && asleep })) {
      const button = /** @type {HTMLElement | null} */ (tray.querySelector(`[data-do="${what}"]`));
      if (button) button.hidden = !useful;
    }
  }

  /**
   * Insert a command as a cell below; where the page cannot do that, show it to be copied.
   * @param {string} group
   * @param {string} line
   */
  insert(group, line) {
    if (this.mount.insert([line])) return;
    const button = this.rows.row(group)?.querySelector('[data-do="chat"]');
    if (button) {
      const tray = this.trays.show(group, "line", /** @type {HTMLElement} */ (button));
      if (!tray) return;
      find(tray, "code").textContent = line;
      find(tray, "form button").focus();
    } else {
      this.error = `${this.words.below} ${line}`;
      this.alarm(this.error);
    }
  }
}

export default {
  /** @param {{model: import("../kit.js").Model}} context */
  initialize({ model }) {
    const panel = new Panel(model);
    return () => panel.end();
  },
};
