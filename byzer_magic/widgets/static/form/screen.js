// The deploy form: it shows the fields that the kernel describes, holds what the user types (keys too, which leave this
// page with the message of a button only), and shows what the kernel finds in them.
import { announce, Channel, fill, flash, hasFocus, make, setAlert, uid } from "../kit.js";
import { Mount } from "../mount.js";
import { Chooser } from "./chooser.js";
import { Command } from "./command.js";
import { Fields } from "./fields.js";
import { Paste } from "./paste.js";
import { Progress } from "./progress.js";
import { State } from "./state.js";

const CHECK_AFTER = 150;
const BUSY_AFTER = 2000;

/** @typedef {import("./chooser.js").Choice} Choice */
/** @typedef {import("./state.js").Spec} Spec */
/** @typedef {import("./state.js").Work} Work */

export class Form {
  /** @param {import("../kit.js").Model} model */
  constructor(model) {
    /** @type {import("../kit.js").Words} */
    const words = model.get("state").words;
    this.words = words;
    this.state = new State();
    /** @type {string[]} */
    this.keys = [];
    /** @type {Choice[]} */
    this.choices = [];
    /** @type {Choice[]} */
    this.models = []; // local ones, once the kernel has found them
    this.checkId = 0;
    this.ended = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.checking = undefined;
    const insert = (/** @type {string[]} */ cells, /** @type {HTMLElement} */ where) => this.insert(cells, where);
    this.chooser = new Chooser(words, (choice) => this.choose(choice));
    this.paths = make("datalist", { id: uid("paths") });
    this.paste = new Paste(words, (text) => this.channel.ask("paste", { text }));
    this.fields = new Fields(this);
    this.error = make("p", { className: "bz-remark bz-bad", role: "alert", hidden: true });
    this.progress = new Progress(words, {
      act: (what) => this.act(what),
      cancel: () => this.channel.send("cancel"),
      undeploy: (alias) => this.channel.send("undeploy", { alias }),
      insert,
    });
    this.command = new Command(words, this.state, insert);
    const top = make("div", { className: "bz-top" }, this.chooser.element, this.paste.toggle);
    const legend = make("legend", { className: "bz-hidden", textContent: words.title });
    this.all = make("fieldset", {}, legend, top, this.paste.element, this.paths, ...this.fields.elements);
    const parts = [this.all, this.error, this.progress.element, this.progress.after, this.command.element];
    this.root = make("div", { className: "bz-form", role: "group", "aria-label": words.title }, ...parts);
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.channel = new Channel(model, this.handlers(), {
      after: BUSY_AFTER,
      busy: (busy) => {
        this.progress.busy.hidden = !busy;
      },
    });
    this.mount = new Mount(model, this.root, {
      gone: () => this.close(),
      dead: () => this.end(this.words.gone),
      tick: () => this.progress.showSeconds(),
    });
    this.channel.ask("ready");
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const field = target.tagName === "INPUT" && target.closest(".bz-grid");
    if (event.key === "Enter" && target === this.paste.area && (event.ctrlKey || event.metaKey)) this.paste.submit();
    else if (event.key === "Enter" && field) this.act("deploy");
    else if (event.key === "Escape" && !this.paste.element.hidden) this.paste.open(false);
    else if (event.key === "Escape" && this.progress.isRunning) this.channel.send("cancel");
    else return;
    event.preventDefault();
  }

  // ---- from the user

  /**
   * @param {Spec} spec
   * @param {string} text
   */
  change(spec, text) {
    this.state.change(spec, text);
    this.fields.showCounts();
    clearTimeout(this.checking);
    this.checking = setTimeout(() => this.check(), CHECK_AFTER);
  }

  check() {
    clearTimeout(this.checking);
    const { values, secrets } = this.state;
    this.checkId = this.channel.ask("check", { values, typed: Object.keys(secrets) });
  }

  /** @param {string} choice */
  choose(choice) {
    this.channel.ask("choose", { choice, kept: this.state.kept });
  }

  /** @param {string} key */
  findKeys(key) {
    this.channel.send("keys", { key });
  }

  /** @param {"deploy" | "test"} what */
  act(what) {
    if (this.progress.isRunning) return;
    this.state.tried = true;
    const { values, secrets } = this.state;
    this.channel.ask(what, { values, secrets });
    this.check();
  }

  /**
   * @param {string[]} cells
   * @param {HTMLElement} where
   */
  insert(cells, where) {
    if (this.mount.insert(cells)) {
      flash(where, this.words.inserted);
      return;
    }
    this.command.copy(cells.join("\n\n"), where);
    announce(this.progress.stage, this.words.not_inserted);
  }

  // ---- from the kernel

  /** @returns {Record<string, (message: any) => void>} */
  handlers() {
    return {
      form: (message) => this.begin(message),
      machine: (message) => this.showMachine(message),
      checked: (message) => this.checked(message),
      refused: (message) => this.refused(message),
      keys: ({ key, entries }) => this.fields.byKey.get(key)?.secret?.offer(entries),
      progress: (message) => this.showProgress(message),
      error: ({ request, text }) => this.showError(request, text),
      end: () => this.end(),
    };
  }

  /** @param {any} message  see `Controller.form` in Python; the first has what `Controller.opening` adds */
  begin(message) {
    if (message.choices) this.choices = message.choices;
    if (message.models && !this.models.length) this.models = message.models;
    if (message.room) this.fields.showRoom(message.room);
    if (message.pasted) this.paste.open(false);
    this.keys = message.keys;
    this.state.begin(message);
    this.fields.clear();
    this.describe(message);
    this.chooser.show([...this.choices, ...this.models], message.choice);
    if (message.work) this.showProgress(message.work);
    this.check();
  }

  /** @param {any} message  the models on the machine, and what the cluster has */
  showMachine({ models, room, ...described }) {
    this.models = models;
    this.fields.showRoom(room);
    const paths = models.map((/** @type {Choice} */ one) =>
      make("option", { value: one.id.slice(5), label: one.title }),
    );
    this.paths.replaceChildren(...paths);
    if (!this.choices.length) return;
    this.chooser.show([...this.choices, ...models], this.chooser.current);
    if (described.fields) this.describe(described);
  }

  /** @param {any} message */
  describe({ fields, kind, local }) {
    this.fields.show(fields, kind, this.root);
    this.progress.test.textContent = local ? this.words.check : this.words.test;
  }

  /** @param {any} message  a check that another has overtaken is too old to be shown */
  checked(message) {
    if (message.id >= this.checkId) this.judge(message);
  }

  /** @param {any} message */
  judge(message) {
    this.state.verdict = message;
    if (message.fields) this.describe(message);
    this.command.show();
    setAlert(this.error, this.state.error);
    return this.fields.showRemarks();
  }

  /** @param {any} message  a button was pressed while something was wrong */
  refused(message) {
    const wrong = this.judge(message);
    if (wrong[0]) this.fields.reveal(wrong[0]);
    const count = wrong.length || 1;
    this.showProgress({ state: "failed", stage: fill(count > 1 ? this.words.fix_many : this.words.fix, { count }) });
    wrong[0]?.input.focus();
  }

  /**
   * @param {string} request
   * @param {string} text
   */
  showError(request, text) {
    if (request === "paste") announce(this.paste.error, text);
    else setAlert(this.error, text);
  }

  /** @param {Work} work */
  showProgress(work) {
    const begins = !this.progress.isRunning && work.state === "running";
    const focused = hasFocus(this.root);
    this.state.setWork(work);
    this.progress.show(work);
    this.all.disabled = this.progress.isRunning;
    this.root.dataset.state = work.state;
    if (begins && focused) this.progress.cancel.focus();
    if (this.progress.isRunning) return;
    this.fields.showRemarks();
    // The button that had the focus may just have been hidden; a browser takes the focus away with the next frame.
    const lost = document.activeElement === this.progress.cancel || !hasFocus(this.root);
    if (focused && lost) this.progress.deploy.focus();
  }

  // ---- the end

  close() {
    this.channel.send("close");
    this.end();
  }

  /** @param {string} [text]  what is left in its place */
  end(text) {
    if (this.ended) return;
    this.ended = true;
    clearTimeout(this.checking);
    this.channel.close();
    if (text) this.root.replaceWith(make("p", { className: "bz-form-gone", textContent: text, role: "status" }));
    this.mount.end();
    this.state.secrets = {};
  }
}

export default {
  /** @param {{model: import("../kit.js").Model}} context */
  initialize({ model }) {
    const form = new Form(model);
    return () => form.end();
  },
};
