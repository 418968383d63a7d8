// The buttons of a deploy form, and how what they began is going.
import { announce, button, fill, make } from "../kit.js";

const SIGNS = { running: "◐", ready: "✓", done: "✓", failed: "✗", stopped: "■" };

/** @typedef {import("./state.js").Work} Work */
/**
 * @typedef {object} ProgressActions
 * @property {(what: "deploy" | "test") => void} act
 * @property {() => void} cancel
 * @property {(alias: string) => void} undeploy
 * @property {(cells: string[], where: HTMLElement) => void} insert
 */

export class Progress {
  /**
   * @param {import("../kit.js").Words} words
   * @param {ProgressActions} actions
   */
  constructor(words, actions) {
    this.words = words;
    this.actions = actions;
    this.since = 0;
    this.isRunning = false;
    this.deploy = button(words.deploy, () => actions.act("deploy"), "bz-primary");
    this.test = button(words.test, () => actions.act("test"));
    this.cancel = button(words.cancel, () => actions.cancel());
    this.cancel.hidden = true;
    this.bar = make("progress", { max: 1, hidden: true, "aria-label": words.deploy });
    this.sign = make("span", { className: "bz-sign-of", "aria-hidden": "true" });
    this.stage = make("span", { className: "bz-stage", role: "status" });
    this.seconds = make("span", { className: "bz-quiet" });
    const busy = { className: "bz-note", role: "status", textContent: words.busy_kernel, hidden: true };
    this.busy = make("span", busy);
    const buttons = [this.deploy, this.test, this.cancel];
    const row = [this.sign, this.bar, this.stage, this.seconds, this.busy];
    this.element = make("div", { className: "bz-row bz-acts" }, ...buttons, ...row);
    this.after = make("div", { className: "bz-after" });
  }

  /** @param {Work} work */
  show(work) {
    const running = work.state === "running";
    if (running && !this.isRunning) this.since = performance.now();
    this.isRunning = running;
    this.deploy.hidden = this.test.hidden = running;
    this.cancel.hidden = this.bar.hidden = !running;
    if (Number.isFinite(work.fraction)) this.bar.value = /** @type {number} */ (work.fraction);
    else this.bar.removeAttribute("value");
    this.sign.textContent = SIGNS[/** @type {keyof typeof SIGNS} */ (work.state)] ?? "";
    announce(this.stage, work.stage ?? "");
    this.showSeconds();
    this.after.replaceChildren(...this.notes(work), ...(running ? [] : this.outcome(work)));
  }

  showSeconds() {
    const seconds = Math.floor((performance.now() - this.since) / 1000);
    this.seconds.textContent = this.isRunning && seconds >= 1 ? fill(this.words.seconds, { seconds }) : "";
  }

  /** @param {Work} work */
  notes({ notes = [] }) {
    return notes.map((textContent) => make("p", { className: "bz-quiet", textContent }));
  }

  /** @param {Work} work */
  outcome({ state, hint, log, rows, alias = "", chat = "" }) {
    /** @type {HTMLElement[]} */
    const parts = [];
    if (hint) parts.push(make("p", { className: "bz-hint", textContent: hint }));
    if (log) {
      const text = make("pre", { className: "bz-log", tabIndex: 0, textContent: log });
      parts.push(make("details", {}, make("summary", { textContent: this.words.log }), text));
    }
    if (rows) {
      const pairs = rows.flatMap(([name, text]) => [
        make("dt", { textContent: name }),
        make("dd", { textContent: text }),
      ]);
      parts.push(make("dl", { className: "bz-facts" }, ...pairs));
    }
    if (state === "ready") {
      const open = button(this.words.chat, () => this.actions.insert([chat], open));
      parts.push(make("div", { className: "bz-row" }, open, this.undeploy(alias)));
    }
    return parts;
  }

  /**
   * Return a button that asks first, by being pressed twice.
   * @param {string} alias
   */
  undeploy(alias) {
    const { undeploy, sure } = this.words;
    const made = button(undeploy, () => {
      if (made.textContent === undeploy) made.textContent = fill(sure, { alias });
      else this.actions.undeploy(alias);
    });
    made.onblur = () => {
      made.textContent = undeploy;
    };
    return made;
  }
}
