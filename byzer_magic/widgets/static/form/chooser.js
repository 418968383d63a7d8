// The field that chooses a preset, provider, engine or local model: a list that can be searched, in groups.
// It follows https://www.w3.org/WAI/ARIA/apg/patterns/combobox/
import { announce, fill, hasTerms, make, terms, uid } from "../kit.js";

const GROUPS = ["preset", "provider", "engine", "here"];
const SHOWN_CHOICES = 200;
const GROUP_HEIGHT_PX = 24;

/** @typedef {{id: string, title: string, detail: string, note: string, group: string}} Choice */

/**
 * Return the choices that fit a search, by group, and how many there are.
 * @param {Choice[]} choices
 * @param {string} search
 */
export function matches(choices, search) {
  const wanted = terms(search);
  const fits = choices.filter((one) => hasTerms(`${one.title} ${one.detail} ${one.id}`, wanted));
  const shown = fits.slice(0, SHOWN_CHOICES);
  const groups = GROUPS.map((name) => ({ name, choices: shown.filter((one) => one.group === name) }));
  return { count: fits.length, groups: groups.filter((group) => group.choices.length) };
}

export class Chooser {
  /**
   * @param {import("../kit.js").Words} words
   * @param {(id: string) => void} choose
   */
  constructor(words, choose) {
    this.words = words;
    this.choose = choose;
    /** @type {Choice[]} */
    this.choices = [];
    this.current = "";
    this.search = "";
    this.at = -1; // of the options that are shown
    const id = uid("choice");
    const roles = {
      role: "combobox",
      "aria-expanded": "false",
      "aria-controls": `${id}-list`,
      "aria-autocomplete": "list",
    };
    const typing = { type: "text", autocomplete: "off", spellcheck: false, placeholder: words.choose_hint };
    this.input = make("input", { id, ...typing, ...roles });
    const list = { className: "bz-list", role: "listbox", hidden: true, "aria-label": words.choose };
    this.list = make("div", { id: `${id}-list`, ...list });
    this.count = make("span", { className: "bz-hidden", role: "status" });
    const label = make("label", { for: id, textContent: words.choose });
    this.element = make("div", { className: "bz-field bz-chooser" }, label, this.input, this.list, this.count);
    this.input.oninput = () => this.open(this.input.value);
    this.input.onclick = () => this.list.hidden && this.open("");
    this.input.onfocus = () => this.input.select();
    this.input.onblur = () => this.close();
    this.input.onkeydown = (event) => this.key(event);
    this.list.onmousedown = (event) => {
      event.preventDefault(); // or the input would lose the focus
      const option = /** @type {Element} */ (event.target).closest("[role=option]");
      if (option) this.take(/** @type {HTMLElement} */ (option));
    };
  }

  /**
   * @param {Choice[]} choices
   * @param {string} current
   */
  show(choices, current) {
    this.choices = choices;
    this.current = current;
    if (this.list.hidden) this.showName();
    else this.open(this.search);
  }

  showName() {
    const choice = this.choices.find((one) => one.id === this.current);
    this.input.value = choice?.title ?? this.current.replace(/^path:/, "");
  }

  /** @param {string} search */
  open(search) {
    this.search = search;
    const { groups, count } = matches(this.choices, search);
    this.list.replaceChildren(...groups.map((group) => this.group(group.name, group.choices)));
    if (!count) this.list.append(make("p", { className: "bz-quiet", textContent: this.words.no_match }));
    announce(this.count, fill(this.words.found, { count }));
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
    this.move(terms(search).length && count ? 0 : -1);
  }

  /**
   * @param {string} name
   * @param {Choice[]} choices
   */
  group(name, choices) {
    const id = uid("group");
    const title = make("div", {
      id,
      className: "bz-group",
      textContent: this.words[`group_${name}`],
      role: "presentation",
    });
    return make("div", { role: "group", "aria-labelledby": id }, title, ...choices.map((one) => this.option(one)));
  }

  /** @param {Choice} choice */
  option({ id, title, detail, note }) {
    const node = make(
      "div",
      { id: uid("option"), role: "option", "aria-selected": String(id === this.current) },
      make("strong", { textContent: title }),
      make("span", { className: "bz-quiet", textContent: detail }),
      note ? make("span", { className: "bz-note", textContent: note }) : null,
    );
    node.dataset.id = id;
    return node;
  }

  close() {
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
    this.showName();
  }

  /** @returns {HTMLElement[]} */
  get options() {
    return /** @type {any} */ ([...this.list.querySelectorAll("[role=option]")]);
  }

  /** @param {number} at */
  move(at) {
    const { options } = this;
    this.at = options.length ? Math.max(-1, Math.min(at, options.length - 1)) : -1;
    for (const [index, option] of options.entries()) option.classList.toggle("bz-active", index === this.at);
    const active = options[this.at];
    if (!active) {
      this.input.removeAttribute("aria-activedescendant");
      return;
    }
    this.input.setAttribute("aria-activedescendant", active.id);
    const bottom = active.offsetTop + active.offsetHeight - this.list.clientHeight;
    this.list.scrollTop = Math.min(Math.max(this.list.scrollTop, bottom), active.offsetTop - GROUP_HEIGHT_PX);
  }

  /** @param {HTMLElement} option */
  take(option) {
    this.current = option.dataset.id ?? "";
    this.close();
    this.choose(this.current);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const isOpen = !this.list.hidden;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (isOpen) this.move(this.at + (event.key === "ArrowDown" ? 1 : -1));
      else this.open("");
    } else if (event.key === "Enter" && isOpen) {
      const option = this.options[Math.max(this.at, 0)];
      if (option) this.take(option);
    } else if (event.key === "Escape" && isOpen) this.close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
