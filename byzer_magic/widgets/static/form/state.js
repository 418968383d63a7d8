// What a deploy form knows, and what follows from it; nothing here touches the page.
import { hasTerms, terms } from "../kit.js";

/**
 * A field as the kernel describes it; see `fields.Field` in Python.
 * @typedef {object} Spec
 * @property {string} key
 * @property {string} label
 * @property {string} code  its name on the command line
 * @property {string} help
 * @property {string} kind  text, int, float, flag, bool, json, secret, choice or path
 * @property {string} group  model, capacity, settings or advanced
 * @property {string} default
 * @property {string[]} choices
 * @property {number | null} minimum
 * @property {number | null} maximum
 * @property {number | null} step
 * @property {boolean} required
 * @property {string[]} env
 * @property {boolean} known
 */
/**
 * What the kernel found when it checked the fields; all but the lines is by key.
 * @typedef {object} Verdict
 * @property {Record<string, string>} [errors]
 * @property {Record<string, string>} [missing]
 * @property {Record<string, string>} [notes]
 * @property {Record<string, string>} [stand_ins]  variables of the environment that are used where a field is empty
 * @property {string} [line]
 * @property {string} [yaml]
 */
/**
 * How a deploy, a test or an undeploy is going.
 * @typedef {object} Work
 * @property {string} [state]  running, ready, done, failed or stopped
 * @property {string} [stage]
 * @property {number} [fraction]
 * @property {string} [alias]
 * @property {string} [field]
 * @property {string} [chat]
 * @property {string} [hint]
 * @property {string} [log]
 * @property {string[]} [notes]
 * @property {[string, string][]} [rows]
 */

const REFERENCE = /^(\$\{[^}]*\}|env:\w+|keyring:.+)$/;
const SHOWN_SETTINGS = 24; // the others are found by searching
const CHOSEN = ["infer_backend", "model_path", "pretrained_model_type"]; // come with the choice of a model

/**
 * Return whether a text names a secret (a variable, an entry of the keyring) and is not one itself.
 * @param {string} text
 */
export function isReference(text) {
  return text.split(",").every((piece) => REFERENCE.test(piece.trim()));
}

export class State {
  constructor() {
    /** @type {Record<string, string>} */
    this.values = {};
    /** @type {Record<string, string>} */
    this.secrets = {}; // typed keys: they leave the page with the message of a button only
    /** @type {Set<string>} */
    this.edited = new Set(); // fields that the user has filled in: another choice leaves them alone
    /** @type {Spec[]} */
    this.specs = [];
    /** @type {Verdict} */
    this.verdict = {};
    /** @type {Work} */
    this.work = {};
    this.tried = false; // a button was pressed: what is missing is an error now
  }

  /** @param {{values: Record<string, string>, secrets: Record<string, string>, pasted?: boolean}} message */
  begin({ values, secrets, pasted }) {
    if (pasted) this.edited = new Set(Object.keys(values));
    this.values = values;
    this.secrets = { ...secrets };
    this.verdict = {};
    this.tried = false;
  }

  /**
   * @param {Spec} spec
   * @param {string} text
   */
  change(spec, text) {
    const { key } = spec;
    this.edited.add(key);
    delete this.secrets[key];
    delete this.values[key];
    if (text && spec.kind === "secret" && !isReference(text)) this.secrets[key] = text;
    else if (text) this.values[key] = text;
  }

  /** @param {string} key */
  textOf(key) {
    return this.secrets[key] ?? this.values[key] ?? "";
  }

  /** @param {Spec} spec */
  isSet(spec) {
    return spec.key in this.values || spec.key in this.secrets;
  }

  /** Return the values that stay when another preset, provider, engine or model is chosen. */
  get kept() {
    const settings = new Set(this.specs.filter((spec) => spec.group === "settings").map((spec) => spec.key));
    const stays = (/** @type {string} */ key) => this.edited.has(key) && !CHOSEN.includes(key) && !settings.has(key);
    const off = this.specs.filter((spec) => spec.kind === "flag" && stays(spec.key) && !(spec.key in this.values));
    const kept = Object.entries(this.values).filter(([key]) => stays(key));
    return Object.fromEntries([...kept, ...off.map((spec) => [spec.key, ""])]);
  }

  /** @param {string} group */
  given(group) {
    const counts = (/** @type {Spec} */ spec) => spec.group === group && spec.key !== "pretrained_model_type";
    return this.specs.filter((spec) => counts(spec) && this.isSet(spec)).length;
  }

  /**
   * Return the settings to show, those that are set first, and how many more fit the search.
   * @param {string} search
   */
  settings(search) {
    const wanted = terms(search);
    const all = this.specs.filter((spec) => spec.group === "settings");
    const fits = all.filter((spec) => hasTerms(`${spec.label} ${spec.code} ${spec.help}`, wanted));
    const order = fits.toSorted(
      (a, b) => Number(this.isSet(b)) - Number(this.isSet(a)) || Number(b.known) - Number(a.known),
    );
    const shown = order.filter((spec, index) => {
      return this.isSet(spec) || ((wanted.length || spec.known) && index < SHOWN_SETTINGS);
    });
    return { shown, count: all.length, more: fits.length - shown.length };
  }

  /**
   * Return the text below a field: an error, a note, or its help.
   * @param {Spec} spec
   * @param {boolean} touched  the user has been in it; before that, nothing is missing
   * @returns {{text: string, kind: "error" | "note" | "help"}}
   */
  remark(spec, touched) {
    const { errors = {}, missing = {}, notes = {} } = this.verdict;
    const error = errors[spec.key] ?? (touched || this.tried ? missing[spec.key] : undefined);
    if (error !== undefined) return { text: error, kind: "error" };
    const isOwn = spec.key === "model" && this.work.state === "ready" && this.work.alias === this.values.model;
    const note = isOwn ? undefined : notes[spec.key]; // the alias is taken by this very deployment: expected
    if (note !== undefined) return { text: note, kind: "note" };
    return { text: spec.help, kind: "help" };
  }

  /** Return the general error, or that of a field that is not shown. */
  get error() {
    const { errors = {} } = this.verdict;
    const known = new Set(this.specs.map((spec) => spec.key));
    return errors[""] ?? Object.entries(errors).find(([key]) => !known.has(key))?.[1];
  }

  /**
   * Return the field that a failure is about: the one that the kernel names, or a setting that is named in its text.
   * @param {Work} work
   */
  blamed({ field, stage = "" }) {
    if (this.specs.some((spec) => spec.key === field)) return field;
    const words = stage.split(/[^\w.]+/);
    const isNamed = (/** @type {Spec} */ spec) =>
      spec.key.startsWith("infer_params.") && spec.key in this.values && words.includes(spec.code);
    return this.specs.find(isNamed)?.key;
  }

  /**
   * Take over how the work is going; a failure becomes the error of the field that it is about.
   * @param {Work} work
   */
  setWork(work) {
    this.work = work;
    const blamed = work.state === "failed" ? this.blamed(work) : undefined;
    if (blamed) {
      const errors = { ...this.verdict.errors, [blamed]: work.stage ?? "" };
      this.verdict = { ...this.verdict, errors };
    }
  }

  /**
   * Return the command, or what a file for `deploy --file` has instead.
   * @param {boolean} asYaml
   */
  text(asYaml) {
    return (asYaml ? this.verdict.yaml : this.verdict.line) ?? "";
  }

  /**
   * Return the cells that deploy what is shown.
   * @param {boolean} asYaml
   */
  cells(asYaml) {
    if (!asYaml) return [this.text(false)];
    const file = `${(this.values.model || "deploy").replace(/[^\w.-]+/g, "_")}.yml`;
    return [`%%writefile ${file}\n${this.text(true)}`, `%byzer deploy --file ${file}`];
  }
}
