// The bar of a chat window and its drawer: model, session, export, and the settings of requests.
import { button, make, uid } from "../kit.js";
import { aliases } from "./state.js";

const EXPORTS = ["to_cells", "to_note", "to_clipboard", "to_file"];

/**
 * @typedef {object} SettingsActions
 * @property {() => void} findModels
 * @property {(alias: string) => void} chooseModel
 * @property {(name: string) => void} chooseSession
 * @property {(values: object) => void} change
 * @property {(to: string) => void} export
 */

export class Settings {
  /**
   * @param {import("../kit.js").Words} words
   * @param {SettingsActions} actions
   */
  constructor(words, actions) {
    this.words = words;
    this.models = make("select", {
      onfocus: () => actions.findModels(),
      onchange: () => actions.chooseModel(this.models.value),
    });
    this.sessions = make("select", { onchange: () => actions.chooseSession(this.sessions.value) });
    this.exports = make("select", { "aria-label": words.export_label }, option("", words.export));
    for (const to of EXPORTS) this.exports.append(option(to, words[to]));
    this.exports.onchange = () => {
      actions.export(this.exports.value);
      this.exports.value = "";
    };
    this.toggle = button(words.settings, () => this.open(this.drawer.hidden === true));
    this.system = make("textarea", { rows: 2 });
    const temperature = make("input", { type: "number", min: 0, max: 2, step: 0.1 });
    const tokens = make("input", { type: "number", min: 1, step: 1 });
    const more = make("input", { type: "text", placeholder: "top_p=0.9 seed=1", spellcheck: false });
    const controls = { system: this.system, temperature, max_tokens: tokens, more };
    const change = () => {
      actions.change(Object.fromEntries(Object.entries(controls).map(([name, { value }]) => [name, value])));
    };
    for (const control of Object.values(controls)) control.onchange = change;
    const id = uid("drawer");
    const fields = Object.entries(controls).map(([name, control]) => this.labelled(name, control));
    this.drawer = make("div", { className: "bz-chat-drawer", hidden: true, id }, ...fields);
    this.toggle.setAttribute("aria-expanded", "false");
    this.toggle.setAttribute("aria-controls", id);
    const selects = [this.labelled("model", this.models), this.labelled("session", this.sessions)];
    this.bar = make("div", { className: "bz-chat-bar" }, ...selects, this.toggle, this.exports);
  }

  /**
   * @param {string} name
   * @param {HTMLElement} control
   */
  labelled(name, control) {
    control.setAttribute("aria-label", this.words[name]); // else a select's options would be part of its name
    return make("label", {}, make("span", { textContent: this.words[name] }), control);
  }

  /** @param {boolean} open */
  open(open) {
    this.drawer.hidden = !open;
    this.toggle.setAttribute("aria-expanded", String(open));
    if (open) this.system.focus();
  }

  /** @param {import("./state.js").Setup} setup */
  show(setup) {
    this.models.replaceChildren(...aliases(setup).map((alias) => option(alias, alias)));
    this.models.value = setup.alias;
    this.showSessions(setup.sessions, setup.session);
    this.system.value = setup.system;
  }

  /**
   * @param {string[]} names
   * @param {string} current
   */
  showSessions(names, current) {
    const options = names.map((name) => option(name, name));
    this.sessions.replaceChildren(...options, option("", `+ ${this.words.new_session}`));
    this.sessions.value = current;
  }

  remove() {
    this.bar.remove();
    this.drawer.remove();
  }
}

/**
 * @param {string} value
 * @param {string} textContent
 */
function option(value, textContent) {
  return make("option", { value, textContent });
}
