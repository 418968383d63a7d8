// A field of a deploy form: label, control, and below it the help, or what is wrong.
import { announce, fill, make, uid } from "../kit.js";
import { Secret } from "./secret.js";

const BLUR_AFTER = 250; // a button that is being pressed must not move away
const TRUE = ["true", "yes", "on", "1"];

/** @typedef {import("./state.js").Spec} Spec */
/**
 * What a field needs of its form.
 * @typedef {object} Host
 * @property {import("../kit.js").Words} words
 * @property {import("./state.js").State} state
 * @property {string[]} keys  variables that may hold a key
 * @property {HTMLElement} paths  the suggestions for fields with a path
 * @property {(spec: Spec, text: string) => void} change
 * @property {(key: string) => void} findKeys
 */

export class Field {
  /**
   * @param {Host} host
   * @param {Spec} spec
   */
  constructor(host, spec) {
    this.host = host;
    this.spec = spec;
    this.touched = false;
    const id = uid("field");
    /** @type {HTMLElement | undefined} */
    this.box = undefined; // the control, where it has more than one part
    /** @type {Secret | undefined} */
    this.secret = undefined;
    /** @type {HTMLInputElement | undefined} */
    this.slider = undefined;
    this.remark = make("p", { id: `${id}-remark`, className: "bz-remark" });
    this.input = this.control(id);
    this.input.setAttribute("aria-describedby", this.remark.id);
    if (spec.required) this.input.setAttribute("aria-required", "true");
    this.input.addEventListener("blur", () => setTimeout(() => this.touch(), BLUR_AFTER));
    this.element = this.build(id);
    this.element.dataset.key = spec.key;
    this.showRemark();
  }

  /** @param {string} id */
  build(id) {
    const { spec } = this;
    const star = spec.required ? make("span", { className: "bz-must", textContent: "*", "aria-hidden": "true" }) : null;
    const label = make("label", { for: id }, spec.label, star);
    const code = spec.code === spec.label ? null : make("code", { textContent: spec.code });
    if (spec.kind === "flag") {
      const head = make("div", { className: "bz-label" }, this.input, label, code);
      return make("div", { className: "bz-field bz-flag" }, head, this.remark);
    }
    const head = make("div", { className: "bz-label" }, label, code);
    return make("div", { className: "bz-field" }, head, this.box ?? this.input, this.remark);
  }

  /**
   * @param {string} id
   * @returns {HTMLInputElement | HTMLSelectElement}
   */
  control(id) {
    const { spec, host } = this;
    const changed = () => this.changed();
    if (spec.kind === "flag") return make("input", { id, type: "checkbox", onchange: changed });
    if (spec.kind === "choice" || spec.kind === "bool") {
      const unset = spec.default ? fill(host.words.by_default, { value: this.word(spec.default) }) : host.words.unset;
      const choices = spec.kind === "bool" ? ["true", "false"] : spec.choices;
      const options = choices.map((value) => make("option", { value, textContent: this.word(value) }));
      return make("select", { id, onchange: changed }, make("option", { value: "", textContent: unset }), ...options);
    }
    const className = spec.kind === "json" ? "bz-code" : "";
    const typing = { type: "text", autocomplete: "off", spellcheck: false, placeholder: spec.default, className };
    const input = make("input", { id, ...typing, oninput: changed });
    if (spec.kind === "path") input.setAttribute("list", host.paths.id);
    if (spec.kind === "int" || spec.kind === "float") this.number(input);
    if (spec.kind === "secret") {
      this.secret = new Secret(host, spec, input, changed);
      this.box = this.secret.element;
    }
    return input;
  }

  changed() {
    this.host.change(this.spec, this.read());
  }

  touch() {
    if (this.touched) return;
    this.touched = true;
    this.showRemark();
  }

  /** @param {string} value */
  word(value) {
    return this.spec.kind === "bool" ? this.host.words[value === "true" ? "yes" : "no"] : value;
  }

  /**
   * The arrow keys count up and down; where the kernel knows how much there is, a slider does too.
   * @param {HTMLInputElement} input
   */
  number(input) {
    const { spec } = this;
    const step = spec.step ?? 1;
    input.inputMode = spec.kind === "int" ? "numeric" : "decimal";
    input.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
      event.preventDefault();
      const next = stepped(input.value || spec.default, event.key === "ArrowUp" ? step : -step, spec.minimum);
      if (next === undefined) return;
      this.write(next);
      this.changed();
    });
    if (spec.maximum === null) return;
    const slider = make("input", { type: "range", min: spec.minimum ?? 0, max: spec.maximum, step, tabIndex: -1 });
    slider.setAttribute("aria-hidden", "true"); // the input beside it does the same
    slider.oninput = () => {
      input.value = slider.value;
      this.changed();
    };
    input.addEventListener("input", () => this.moveSlider(input.value));
    this.slider = slider;
    this.box = make("div", { className: "bz-pair bz-number" }, input, slider);
  }

  /** @param {string} text */
  moveSlider(text) {
    if (this.slider) this.slider.value = String(Number(text || this.spec.default) || 0);
  }

  read() {
    if (this.spec.kind !== "flag") return this.input.value;
    return /** @type {HTMLInputElement} */ (this.input).checked ? "true" : "";
  }

  /** @param {string} text */
  write(text) {
    const { input } = this;
    if (this.spec.kind === "flag") /** @type {HTMLInputElement} */ (input).checked = TRUE.includes(text.toLowerCase());
    else {
      if (input instanceof HTMLSelectElement && text && ![...input.options].some((one) => one.value === text)) {
        input.append(make("option", { value: text, textContent: text }));
      }
      input.value = text;
    }
    this.moveSlider(text);
    this.secret?.show();
  }

  /** Show the help, or in its place what is wrong, missing, or to be noted; return whether something is wrong. */
  showRemark() {
    const { spec } = this;
    const { text, kind } = this.host.state.remark(spec, this.touched);
    announce(this.remark, text);
    this.remark.className = `bz-remark ${{ error: "bz-bad", note: "bz-note", help: "" }[kind]}`;
    this.remark.title = kind === "help" ? spec.help : "";
    this.input.setAttribute("aria-invalid", String(kind === "error"));
    if (this.input instanceof HTMLInputElement && spec.kind !== "flag") {
      this.input.placeholder = this.host.state.verdict.stand_ins?.[spec.key] ?? this.secret?.hint ?? spec.default;
    }
    return kind === "error";
  }
}

/**
 * Return a number one step further, or nothing where the text is not a number.
 * @param {string} text
 * @param {number} step
 * @param {number | null} minimum
 */
export function stepped(text, step, minimum) {
  const next = Math.max(minimum ?? Number.NEGATIVE_INFINITY, Number(text || 0) + step);
  return Number.isFinite(next) ? String(Number(next.toFixed(6))) : undefined;
}
