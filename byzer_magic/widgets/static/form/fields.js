// The fields of a deploy form, in their sections.
import { fill, hasFocus, make } from "../kit.js";
import { Field } from "./field.js";

const SEARCHED_ABOVE = 8; // settings; fewer are seen at a glance

/** @typedef {import("./state.js").Spec} Spec */

export class Fields {
  /** @param {import("./field.js").Host} host */
  constructor(host) {
    this.host = host;
    this.kind = "";
    /** @type {Map<string, Field>} */
    this.byKey = new Map();
    const { words } = host;
    const grid = () => make("div", { className: "bz-grid" });
    /** @type {Record<string, HTMLElement>} */
    this.grids = { model: grid(), capacity: grid(), settings: grid(), advanced: grid() };
    this.keyNote = make("p", { className: "bz-quiet", textContent: words.key_note, hidden: true });
    const named = { placeholder: words.search_settings, "aria-label": words.search_settings };
    this.search = make("input", { type: "search", className: "bz-search", ...named });
    this.search.oninput = () => this.showSettings();
    this.more = make("p", { className: "bz-quiet" });
    this.settingsTitle = make("summary");
    this.settings = make("details", {}, this.settingsTitle, this.search, this.grids.settings, this.more);
    this.settings.ontoggle = () => this.showSettings();
    this.advancedTitle = make("summary", { textContent: words.group_advanced });
    this.advanced = make("details", {}, this.advancedTitle, this.grids.advanced);
    this.room = make("span", { className: "bz-quiet" });
    const capacity = make("h4", {}, words.group_capacity, " ", this.room);
    const sections = [this.grids.model, this.keyNote, capacity, this.grids.capacity, this.settings, this.advanced];
    this.elements = sections;
  }

  get all() {
    return [...this.byKey.values()];
  }

  clear() {
    this.byKey.clear();
  }

  /** @param {string} text  what the cluster has */
  showRoom(text) {
    this.room.textContent = `· ${text}`;
  }

  /**
   * Show other fields. Those that stay as they are keep the cursor.
   * @param {Spec[]} specs
   * @param {string} kind  of the backend
   * @param {HTMLElement} root
   */
  show(specs, kind, root) {
    const cursor = cursorIn(root);
    const { state } = this.host;
    const before = this.byKey;
    this.kind = kind;
    this.byKey = new Map(specs.map((spec) => [spec.key, this.fieldOf(spec, before.get(spec.key))]));
    state.specs = specs;
    for (const name of ["model", "capacity", "advanced"]) {
      this.grids[name].replaceChildren(
        ...specs.filter((spec) => spec.group === name).map((spec) => this.elementOf(spec)),
      );
    }
    this.keyNote.hidden = !specs.some((spec) => spec.kind === "secret" && spec.group === "model");
    this.showSettings();
    this.showCounts();
    if (cursor) restore(cursor, this.byKey.get(cursor.key)?.input);
  }

  /**
   * @param {Spec} spec
   * @param {Field | undefined} old
   */
  fieldOf(spec, old) {
    if (old && JSON.stringify(old.spec) === JSON.stringify(spec)) return old;
    const field = new Field(this.host, spec);
    field.write(this.host.state.textOf(spec.key));
    field.touched = old?.touched ?? false;
    return field;
  }

  /** @param {Spec} spec */
  elementOf(spec) {
    return /** @type {Field} */ (this.byKey.get(spec.key)).element;
  }

  showSettings() {
    const { shown, count, more } = this.host.state.settings(this.search.value);
    this.settings.hidden = !count;
    if (!this.settings.open) return;
    this.grids.settings.replaceChildren(...shown.map((spec) => this.elementOf(spec)));
    this.search.hidden = count <= SEARCHED_ABOVE;
    this.more.textContent = more ? fill(this.host.words.more_settings, { count: more }) : "";
  }

  showCounts() {
    const { words, state } = this.host;
    const title = (/** @type {string} */ text, /** @type {string} */ group) => {
      const count = state.given(group);
      return count ? `${text} · ${fill(words.set_count, { count })}` : text;
    };
    this.settingsTitle.textContent = title(fill(words.group_settings, { kind: this.kind }), "settings");
    this.advancedTitle.textContent = title(words.group_advanced, "advanced");
  }

  /** Show what is wrong with each field, and return those with an error. */
  showRemarks() {
    return this.all.filter((field) => field.showRemark());
  }

  /**
   * Open the section that a field is in.
   * @param {Field} field
   */
  reveal(field) {
    if (field.element.isConnected && !field.element.closest("details:not([open])")) return;
    const section = field.spec.group === "settings" ? this.settings : this.advanced;
    section.open = true;
    this.showSettings();
  }
}

/** @typedef {{node: any, key: string, range: [number | null, number | null] | null}} Cursor */

/**
 * Return where the cursor is, if it is in a field.
 * @param {HTMLElement} root
 * @returns {Cursor | null}
 */
function cursorIn(root) {
  const node = /** @type {any} */ (document.activeElement);
  const key = hasFocus(root) ? node.closest("[data-key]")?.dataset.key : undefined;
  if (!key) return null;
  return { node, key, range: node.selectionStart === undefined ? null : [node.selectionStart, node.selectionEnd] };
}

/**
 * Put the cursor back; a field that was made again has it where it was.
 * @param {Cursor} cursor
 * @param {any} made
 */
function restore({ node, range }, made) {
  const target = node.isConnected ? node : made;
  if (!target || document.activeElement === target) return;
  target.focus();
  if (range && range[0] !== null && target.type !== "checkbox") target.setSelectionRange?.(...range);
}
