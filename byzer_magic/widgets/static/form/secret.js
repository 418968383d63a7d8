// A field for a key: typed, or taken from a variable or the keyring. A typed key is never shown.
import { fill, make } from "../kit.js";
import { isReference } from "./state.js";

const NOT_FOR_PASSWORD_MANAGERS = ["1pIgnore", "lpignore", "bwignore"]; // 1Password, LastPass, Bitwarden

export class Secret {
  /**
   * @param {import("./field.js").Host} host
   * @param {import("./state.js").Spec} spec
   * @param {HTMLInputElement} input
   * @param {() => void} changed
   */
  constructor(host, spec, input, changed) {
    this.host = host;
    this.spec = spec;
    this.input = input;
    this.asked = false;
    Object.assign(input, { type: "password", autocomplete: "new-password", placeholder: this.hint });
    for (const name of NOT_FOR_PASSWORD_MANAGERS) input.dataset[name] = "true";
    input.addEventListener("input", () => this.show());
    this.source = make("select", { "aria-label": fill(host.words.key_source, { label: spec.label }) });
    this.source.onchange = () => {
      input.value = this.source.value;
      this.show();
      changed();
      if (!input.value) input.focus();
    };
    this.source.onfocus = () => this.findKeys();
    this.offer([]);
    this.element = make("div", { className: "bz-pair" }, input, this.source);
  }

  get hint() {
    return this.spec.group === "model" ? this.host.words.key_missing : this.spec.default;
  }

  /** Look into the keyring, once, and not before the user looks for a key: it may open a dialog. */
  findKeys() {
    if (this.asked) return;
    this.asked = true;
    this.host.findKeys(this.spec.key);
  }

  /**
   * Offer the variables that may hold a key, the backend's own first, and entries of the keyring.
   * @param {string[]} entries
   */
  offer(entries) {
    const { words, keys } = this.host;
    const { value } = this.source;
    const own = this.spec.env.filter((name) => keys.includes(name));
    const names = [...own, ...keys.filter((name) => !own.includes(name))].map((name) => `\${${name}}`);
    this.source.replaceChildren(make("option", { value: "", textContent: words.key_typed }));
    for (const [label, rows] of /** @type {[string, string[]][]} */ ([
      [words.key_env, names],
      [words.key_ring, entries],
    ])) {
      const options = rows.map((row) => make("option", { value: row, textContent: row }));
      if (options.length) this.source.append(make("optgroup", { label }, ...options));
    }
    this.select(value);
  }

  /** @param {string} value */
  select(value) {
    this.source.value = value;
    if (this.source.selectedIndex < 0) this.source.value = "";
  }

  /** A reference can be read; a key cannot. */
  show() {
    const named = isReference(this.input.value);
    this.input.type = named ? "text" : "password";
    this.select(named ? this.input.value : "");
  }
}
