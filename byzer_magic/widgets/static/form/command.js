// The command that does what a form has, or its YAML file: to read, to copy, to insert as cells.
import { announce, button, copyText, flash, make } from "../kit.js";

export class Command {
  /**
   * @param {import("../kit.js").Words} words
   * @param {import("./state.js").State} state
   * @param {(cells: string[], where: HTMLElement) => void} insert
   */
  constructor(words, state, insert) {
    this.words = words;
    this.state = state;
    this.line = make("code");
    this.yaml = button(words.yaml, () => this.show(!this.asYaml));
    this.yaml.title = words.yaml_help;
    this.yaml.setAttribute("aria-pressed", "false");
    const copy = button(words.copy, () => this.copy(this.line.textContent ?? "", copy));
    const add = button(words.insert, () => insert(state.cells(this.asYaml), add));
    const title = make("span", { className: "bz-title", textContent: words.command });
    this.element = make(
      "div",
      { className: "bz-command" },
      make("div", { className: "bz-row" }, title, this.yaml, copy, add),
      make("pre", { tabIndex: 0, role: "region", "aria-label": words.command }, this.line),
    );
  }

  get asYaml() {
    return this.yaml.getAttribute("aria-pressed") === "true";
  }

  show(asYaml = this.asYaml) {
    this.yaml.setAttribute("aria-pressed", String(asYaml));
    announce(this.line, this.state.text(asYaml));
  }

  /**
   * @param {string} text
   * @param {HTMLElement} where
   */
  async copy(text, where) {
    await copyText(text);
    flash(where, this.words.copied);
  }
}
