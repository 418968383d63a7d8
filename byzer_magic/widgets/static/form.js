// The deploy form: it draws the fields that the kernel describes, holds what people type (keys too, which leave this
// page only in the message of a button), and shows what the kernel says of them.

const REFERENCE = /^(\$\{[^}]*\}|env:\w+|keyring:.+)$/;
const SIGNS = { running: "◐", ready: "✓", done: "✓", failed: "✗", stopped: "■" };
const GROUPS = ["preset", "provider", "engine", "here"];
const CHECK_AFTER = 150;
const BLUR_AFTER = 250;
const BUSY_AFTER = 2000;
const SHOWN_SETTINGS = 24;  // more are found by typing
const SHOWN_CHOICES = 200;
const OURS = Math.random().toString(36).slice(2, 8);  // each form of a page is a copy of this script
let ids = 0;

function make(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.includes("-") || name === "role" || name === "for") node.setAttribute(name, value);
    else if (value !== undefined) node[name] = value;
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
const button = (text, click, kind = "") => make("button", { type: "button", className: kind, textContent: text, onclick: click });

/** A field that can be searched in a list of rows: https://www.w3.org/WAI/ARIA/apg/patterns/combobox/ */
class Chooser {
  constructor(words, pick) {
    this.words = words;
    this.pick = pick;
    this.rows = [];
    this.current = "";
    this.at = -1;
    const id = `bz-choice-${OURS}${++ids}`;
    this.input = make("input", { id, type: "text", autocomplete: "off", spellcheck: false, placeholder: words.choose_hint,
      role: "combobox", "aria-expanded": "false", "aria-controls": `${id}-list`, "aria-autocomplete": "list" });
    this.list = make("div", { id: `${id}-list`, className: "bz-list", role: "listbox", hidden: true, "aria-label": words.choose });
    this.count = make("span", { className: "bz-hidden", role: "status" });
    this.element = make("div", { className: "bz-field bz-chooser" },
      make("label", { for: id, textContent: words.choose }), this.input, this.list, this.count);
    this.input.oninput = () => this.open(this.input.value);
    this.input.onclick = () => this.list.hidden && this.open("");
    this.input.onfocus = () => this.input.select();
    this.input.onblur = () => this.close();
    this.input.onkeydown = (event) => this.key(event);
    this.list.onmousedown = (event) => {  // the focus stays where one types
      event.preventDefault();
      const row = event.target.closest("[role=option]");
      if (row) this.take(row);
    };
  }

  show(rows, current) {
    this.rows = rows;
    this.current = current;
    if (this.list.hidden) this.name(); else this.open(this.sought);
  }

  name() {
    const row = this.rows.find((one) => one.id === this.current);
    this.input.value = row?.title ?? this.current.replace(/^path:/, "");
  }

  open(text) {
    this.sought = text;
    const terms = text.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = this.rows.filter((row) => terms.every((term) => `${row.title} ${row.detail} ${row.id}`.toLowerCase().includes(term)));
    const groups = GROUPS.map((name) => [name, fits.slice(0, SHOWN_CHOICES).filter((row) => row.group === name)]);
    this.list.replaceChildren(...groups.filter(([, rows]) => rows.length).map(([name, rows]) => this.group(name, rows)));
    if (!fits.length) this.list.append(make("p", { className: "bz-quiet", textContent: this.words.no_match }));
    this.count.textContent = fill(this.words.found, { count: fits.length });
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
    this.move(terms.length && fits.length ? 0 : -1);
  }

  group(name, rows) {
    const id = `bz-group-${OURS}${++ids}`;
    const options = rows.map((row) => {
      const node = make("div", { id: `bz-option-${OURS}${++ids}`, role: "option", "aria-selected": String(row.id === this.current) },
        make("strong", { textContent: row.title }), make("span", { className: "bz-quiet", textContent: row.detail }),
        row.note ? make("span", { className: "bz-note", textContent: row.note }) : null);
      node.dataset.id = row.id;
      return node;
    });
    return make("div", { role: "group", "aria-labelledby": id },
      make("div", { id, className: "bz-group", textContent: this.words[`group_${name}`], role: "presentation" }), ...options);
  }

  close() {
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
    this.name();
  }

  get options() { return [...this.list.querySelectorAll("[role=option]")]; }

  move(at) {
    const options = this.options;
    this.at = options.length ? Math.max(-1, Math.min(at, options.length - 1)) : -1;
    options.forEach((row, index) => row.classList.toggle("bz-active", index === this.at));
    const active = options[this.at];
    if (active) {
      this.input.setAttribute("aria-activedescendant", active.id);
      this.list.scrollTop = Math.min(Math.max(this.list.scrollTop, active.offsetTop + active.offsetHeight - this.list.clientHeight), active.offsetTop - 24);
    } else this.input.removeAttribute("aria-activedescendant");
  }

  take(row) {
    this.current = row.dataset.id;
    this.close();
    this.pick(this.current);
  }

  key(event) {
    const open = !this.list.hidden;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (open) this.move(this.at + (event.key === "ArrowDown" ? 1 : -1)); else this.open("");
    } else if (event.key === "Enter" && open) {
      const row = this.options[Math.max(this.at, 0)];
      if (row) this.take(row);
    } else if (event.key === "Escape" && open) this.close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

/** One field: label, input, and below it the help, or what is wrong. */
class Field {
  constructor(form, spec) {
    this.form = form;
    this.spec = spec;
    const id = `bz-field-${OURS}${++ids}`;
    this.said = make("p", { id: `${id}-said`, className: "bz-said" });
    this.input = this.control(id);
    this.input.setAttribute("aria-describedby", this.said.id);
    if (spec.required) this.input.setAttribute("aria-required", "true");
    this.input.addEventListener("blur", () => setTimeout(() => {  // a button that is being pressed must not move away
      if (!this.touched) { this.touched = true; this.say(); }
    }, BLUR_AFTER));
    const code = spec.code === spec.label ? null : make("code", { textContent: spec.code });
    const label = make("label", { for: id }, spec.label, spec.required ? make("span", { className: "bz-must", textContent: "*", "aria-hidden": "true" }) : null);
    const head = make("div", { className: "bz-label" }, label, code);
    this.element = spec.kind === "flag"
      ? make("div", { className: "bz-field bz-flag" }, make("div", { className: "bz-label" }, this.input, label, code), this.said)
      : make("div", { className: "bz-field" }, head, this.box ?? this.input, this.said);
    this.element.dataset.key = spec.key;
    this.say();
  }

  control(id) {
    const { spec, form } = this;
    const { words } = form;
    const changed = () => form.change(spec.key, this.read());
    if (spec.kind === "flag") return make("input", { id, type: "checkbox", onchange: changed });
    if (spec.kind === "choice" || spec.kind === "bool") {
      const unset = spec.default ? fill(words.by_default, { value: this.word(spec.default) }) : words.unset;
      const choices = spec.kind === "bool" ? ["true", "false"] : spec.choices;
      return make("select", { id, onchange: changed }, make("option", { value: "", textContent: unset }),
        ...choices.map((value) => make("option", { value, textContent: this.word(value) })));
    }
    const number = spec.kind === "int" || spec.kind === "float";
    const input = make("input", { id, type: "text", autocomplete: "off", spellcheck: false, oninput: changed,
      placeholder: spec.default, className: spec.kind === "json" ? "bz-code" : "" });
    if (number) input.inputMode = spec.kind === "int" ? "numeric" : "decimal";
    if (spec.kind === "path") input.setAttribute("list", form.paths.id);
    if (spec.kind === "secret") this.secret(input);
    if (number) this.number(input);
    return input;
  }

  get hint() { return this.spec.kind === "secret" && this.spec.group === "model" ? this.form.words.key_missing : this.spec.default; }

  word(value) { return this.spec.kind === "bool" ? this.form.words[value === "true" ? "yes" : "no"] : value; }

  /** A key that is typed is never shown, and no browser shall remember it; one that is only named is a text. */
  secret(input) {
    const { words } = this.form;
    Object.assign(input, { type: "password", autocomplete: "new-password", placeholder: this.hint });
    for (const name of ["1pIgnore", "lpignore", "bwignore"]) input.dataset[name] = "true";
    this.source = make("select", { "aria-label": fill(words.key_source, { label: this.spec.label }),
      onchange: () => {
        input.value = this.source.value;
        this.shape();
        this.form.change(this.spec.key, input.value);
        if (!input.value) input.focus();
      },
      onfocus: () => { if (!this.asked) { this.asked = true; this.form.send({ do: "keys", key: this.spec.key }); } } });
    this.offer([]);
    input.addEventListener("input", () => this.shape());
    this.box = make("div", { className: "bz-pair" }, input, this.source);
  }

  offer(entries) {
    const { words, keys } = this.form;
    const value = this.source.value;
    const first = this.spec.env.filter((name) => keys.includes(name));
    const names = [...first, ...keys.filter((name) => !first.includes(name))];
    const group = (label, rows) => rows.length ? make("optgroup", { label }, ...rows.map((row) => make("option", { value: row, textContent: row }))) : null;
    this.source.replaceChildren(make("option", { value: "", textContent: words.key_typed }));
    for (const part of [group(words.key_env, names.map((name) => `\${${name}}`)), group(words.key_ring, entries)]) if (part) this.source.append(part);
    this.select(value);
  }

  select(value) {
    this.source.value = value;
    if (this.source.selectedIndex < 0) this.source.value = "";
  }

  shape() {
    const named = REFERENCE.test(this.input.value);
    this.input.type = named ? "text" : "password";
    this.select(named ? this.input.value : "");
  }

  number(input) {
    const { spec } = this;
    const step = spec.step ?? 1;
    input.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
      event.preventDefault();
      const now = Number(input.value || spec.default || 0);
      const next = Math.max(spec.minimum ?? -Infinity, now + (event.key === "ArrowUp" ? step : -step));
      if (!Number.isFinite(next)) return;
      this.write(String(Number(next.toFixed(6))));
      this.form.change(spec.key, input.value);
    });
    if (spec.maximum === null) return;
    this.slider = make("input", { type: "range", min: spec.minimum ?? 0, max: spec.maximum, step, tabIndex: -1, "aria-hidden": "true",
      oninput: () => { input.value = this.slider.value; this.form.change(spec.key, input.value); } });
    input.addEventListener("input", () => { this.slider.value = Number(input.value || spec.default) || 0; });
    this.box = make("div", { className: "bz-pair bz-number" }, input, this.slider);
  }

  read() { return this.spec.kind === "flag" ? (this.input.checked ? "true" : "") : this.input.value; }

  write(text) {
    const { input, spec } = this;
    if (spec.kind === "flag") input.checked = ["true", "yes", "on", "1"].includes(text.toLowerCase());
    else if (input.tagName === "SELECT") {
      if (text && ![...input.options].some((option) => option.value === text)) input.append(make("option", { value: text, textContent: text }));
      input.value = text;
    } else input.value = text;
    if (this.slider) this.slider.value = Number(text || spec.default) || 0;
    if (this.source) this.shape();
  }

  /** Show the help, or in its place what is wrong, missing, or to be noted. */
  say(tried = this.form.tried) {
    const { spec, form } = this;
    const { errors = {}, missing = {}, notes = {}, stand_ins = {} } = form.told;
    const wrong = errors[spec.key] ?? (this.touched || tried ? missing[spec.key] : undefined);
    const noted = spec.key === "model" && form.running(spec) ? undefined : notes[spec.key];
    const text = wrong ?? noted ?? spec.help;
    if (this.said.textContent !== text) this.said.textContent = text;
    this.said.className = `bz-said ${wrong ? "bz-bad" : noted ? "bz-note" : ""}`;
    this.said.title = wrong || noted ? "" : spec.help;
    this.input.setAttribute("aria-invalid", String(Boolean(wrong)));
    if (this.input.tagName === "INPUT" && spec.kind !== "flag") {
      this.input.placeholder = stand_ins[spec.key] ?? this.hint;
    }
    return Boolean(wrong);
  }
}

class Form {
  constructor(model) {
    this.model = model;
    this.words = model.get("state").words;
    this.values = {};
    this.secrets = {};
    this.mine = new Set();  // what somebody has filled in, which another choice leaves alone
    this.fields = new Map();
    this.specs = [];
    this.keys = [];
    this.told = {};
    this.work = {};
    this.tried = false;
    this.number = 0;
    this.draw();
    this.onMessage = (message) => this.take(message);
    model.on("msg:custom", this.onMessage);
    this.mount = new Mount(model, this.root, {
      gone: () => { this.send({ do: "gone" }); this.end(); },
      dead: () => this.end(this.words.gone),
      tick: () => this.tick(),
    });
    this.send({ do: "ready" });
  }

  send(message) { this.model.send(message); }

  end(text) {
    if (this.ended) return;
    this.ended = true;
    clearTimeout(this.checking);
    this.model.off("msg:custom", this.onMessage);
    if (text) this.root.replaceWith(make("p", { className: "bz-form-gone", textContent: text, role: "status" }));
    this.mount.end();
    this.secrets = {};
  }

  tick() {
    this.waits.hidden = !(this.asked && performance.now() - this.asked > BUSY_AFTER);
    if (this.work.state === "running") this.clock();
  }

  // ---- what it is made of

  draw() {
    const { words } = this;
    this.chooser = new Chooser(words, (choice) => this.choose(choice));
    this.paths = make("datalist", { id: `bz-paths-${OURS}${++ids}` });
    this.pasted = make("textarea", { rows: 4, spellcheck: false, className: "bz-code", "aria-label": words.paste, placeholder: words.paste_help });
    this.pasteSaid = make("p", { className: "bz-said bz-bad", role: "status" });
    this.paste = make("div", { className: "bz-paste", hidden: true }, this.pasted, this.pasteSaid,
      make("div", { className: "bz-row" }, button(words.paste_do, () => this.send({ do: "paste", text: this.pasted.value }), "bz-primary"),
        button(words.close, () => this.showPaste(false))));
    this.pasteButton = button(words.paste, () => this.showPaste(this.paste.hidden));
    this.pasteButton.setAttribute("aria-expanded", "false");
    this.grids = Object.fromEntries(["model", "capacity", "settings", "advanced"].map((name) => [name, make("div", { className: "bz-grid" })]));
    this.room = make("span", { className: "bz-quiet" });
    this.keyNote = make("p", { className: "bz-quiet", textContent: words.key_note, hidden: true });
    this.search = make("input", { type: "search", className: "bz-search", placeholder: words.search_settings, "aria-label": words.search_settings, oninput: () => this.arrangeSettings() });
    this.more = make("p", { className: "bz-quiet" });
    this.settingsName = make("summary");
    this.settings = make("details", { ontoggle: () => this.arrangeSettings() }, this.settingsName, this.search, this.grids.settings, this.more);
    this.advancedName = make("summary", { textContent: words.group_advanced });
    this.advanced = make("details", {}, this.advancedName, this.grids.advanced);
    this.all = make("fieldset", {}, make("legend", { className: "bz-hidden", textContent: words.title }),
      make("div", { className: "bz-top" }, this.chooser.element, this.pasteButton), this.paste, this.paths,
      this.grids.model, this.keyNote,
      make("h4", {}, words.group_capacity, " ", this.room), this.grids.capacity, this.settings, this.advanced);
    this.whole = make("p", { className: "bz-said bz-bad", role: "alert", hidden: true });
    this.deployButton = button(words.deploy, () => this.act("deploy"), "bz-primary");
    this.testButton = button(words.test, () => this.act("test"));
    this.cancelButton = button(words.cancel, () => this.send({ do: "cancel" }));
    this.cancelButton.hidden = true;
    this.bar = make("progress", { max: 1, hidden: true, "aria-label": words.deploy });
    this.sign = make("span", { className: "bz-sign-of", "aria-hidden": "true" });
    this.stage = make("span", { className: "bz-stage", role: "status" });
    this.seconds = make("span", { className: "bz-quiet" });
    this.waits = make("span", { className: "bz-note", role: "status", textContent: words.busy_kernel, hidden: true });
    this.after = make("div", { className: "bz-after" });
    this.line = make("code");
    this.copyButton = button(words.copy, () => this.copy());
    this.insertButton = button(words.insert, () => this.insert(this.cells, this.insertButton));
    this.yamlButton = button(words.yaml, () => this.showLine(this.yamlButton.getAttribute("aria-pressed") !== "true"));
    this.yamlButton.title = words.yaml_help;
    this.yamlButton.setAttribute("aria-pressed", "false");
    this.root = make("div", { className: "bz-form", role: "group", "aria-label": words.title }, this.all, this.whole,
      make("div", { className: "bz-row bz-acts" }, this.deployButton, this.testButton, this.cancelButton, this.sign, this.bar, this.stage, this.seconds, this.waits),
      this.after,
      make("div", { className: "bz-command" }, make("div", { className: "bz-row" }, make("span", { className: "bz-title", textContent: words.command }), this.yamlButton, this.copyButton, this.insertButton),
        make("pre", { tabIndex: 0, role: "region", "aria-label": words.command }, this.line)));
    this.root.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    const field = event.target.tagName === "INPUT" && event.target.closest(".bz-grid");
    if (event.key === "Enter" && event.target === this.pasted && (event.ctrlKey || event.metaKey)) this.send({ do: "paste", text: this.pasted.value });
    else if (event.key === "Enter" && field) this.act("deploy");
    else if (event.key === "Escape" && !this.paste.hidden) this.showPaste(false);
    else if (event.key === "Escape" && this.work.state === "running") this.send({ do: "cancel" });
    else return;
    event.preventDefault();
  }

  showPaste(open) {
    this.paste.hidden = !open;
    this.pasteButton.setAttribute("aria-expanded", String(open));
    this.pasteSaid.textContent = "";
    (open ? this.pasted : this.pasteButton).focus();
    if (!open) this.pasted.value = "";  // a pasted command may have a key in it
  }

  // ---- what people do

  change(key, text) {
    this.mine.add(key);
    delete this.secrets[key];
    delete this.values[key];
    const field = this.fields.get(key);
    if (text && field?.spec.kind === "secret" && !REFERENCE.test(text)) this.secrets[key] = text;
    else if (text) this.values[key] = text;
    this.count();
    clearTimeout(this.checking);
    this.checking = setTimeout(() => this.check(), CHECK_AFTER);
  }

  check() {
    clearTimeout(this.checking);
    this.asked ??= performance.now();
    this.send({ do: "check", number: ++this.number, values: this.values, typed: Object.keys(this.secrets) });
  }

  choose(choice) {
    const kept = Object.fromEntries(Object.entries(this.values).filter(([key]) => this.mine.has(key) && this.fields.get(key)?.spec.group !== "settings"));
    delete kept.infer_backend;
    delete kept.model_path;
    delete kept.pretrained_model_type;
    this.send({ do: "choose", choice, kept });
  }

  act(what) {
    if (this.work.state === "running") return;
    clearTimeout(this.checking);
    this.tried = true;
    this.asked ??= performance.now();
    this.send({ do: what, values: this.values, secrets: this.secrets });
    this.check();
  }

  get asYaml() { return this.yamlButton.getAttribute("aria-pressed") === "true"; }

  /** Show the command, or what a file for `deploy --file` has instead. */
  showLine(asYaml = this.asYaml) {
    this.yamlButton.setAttribute("aria-pressed", String(asYaml));
    this.line.textContent = (asYaml ? this.told.yaml : this.told.line) ?? "";
  }

  /** The cells that do what is shown. */
  get cells() {
    if (!this.asYaml) return [this.told.line];
    const file = `${(this.values.model || "deploy").replace(/[^\w.-]+/g, "_")}.yml`;
    return [`%%writefile ${file}\n${this.told.yaml}`, `%byzer deploy --file ${file}`];
  }

  async copy(text = this.line.textContent, where = this.copyButton) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      getSelection().selectAllChildren(this.line);
      document.execCommand("copy");
    }
    this.flash(where, this.words.copied);
  }

  flash(where, text) {
    const before = where.dataset.text ??= where.textContent;
    where.textContent = text;
    setTimeout(() => { where.textContent = before; }, 1500);
  }

  insert(cells, where) {
    if (this.mount.insert(cells)) {
      this.flash(where, this.words.inserted);
      return;
    }
    this.copy(cells.join("\n\n"), where);
    this.stage.textContent = this.words.not_inserted;
  }

  // ---- what the kernel says

  take(message) {
    if (message.is !== "around") this.asked = undefined;
    if (message.is === "end") this.end();
    else if (message.is === "form") this.begin(message);
    else if (message.is === "around") this.around(message);
    else if (message.is === "checked") this.checked(message);
    else if (message.is === "refused") this.refused(message);
    else if (message.is === "keys") this.fields.get(message.key)?.offer(message.entries);
    else if (message.is === "work") this.progress(message);
    else if (message.is === "trouble") this.trouble(message);
  }

  begin(message) {
    if (message.choices) this.choices = message.choices;
    if (message.models) this.models ??= message.models;
    if (message.room) this.room.textContent = `· ${message.room}`;
    if (message.pasted) { this.showPaste(false); this.mine = new Set(Object.keys(message.values)); }
    this.keys = message.keys;
    this.values = message.values;
    this.secrets = { ...message.secrets };
    this.told = {};
    this.tried = false;
    this.fields.clear();
    this.describe(message);
    this.chooser.show([...this.choices, ...(this.models ?? [])], message.choice);
    if (message.work) this.progress(message.work);
    this.check();
  }

  around({ models, room, ...described }) {
    this.models = models;
    this.room.textContent = `· ${room}`;
    this.paths.replaceChildren(...models.map((row) => make("option", { value: row.id.slice(5), label: row.title })));
    if (!this.choices) return;
    this.chooser.show([...this.choices, ...models], this.chooser.current);
    if (described.fields) this.describe(described);
  }

  /** Put the fields where they belong; those that stay as they are keep the cursor. */
  describe({ fields, kind, local }) {
    const focused = this.root.contains(document.activeElement) ? document.activeElement : null;
    const range = focused?.selectionStart === undefined ? null : [focused?.selectionStart, focused?.selectionEnd];
    const before = this.fields;
    this.fields = new Map(fields.map((spec) => {
      const old = before.get(spec.key);
      const field = old && JSON.stringify(old.spec) === JSON.stringify(spec) ? old : new Field(this, spec);
      if (field !== old) field.write(this.secrets[spec.key] ?? this.values[spec.key] ?? "");
      if (field !== old && old) field.touched = old.touched;
      return [spec.key, field];
    }));
    for (const name of ["model", "capacity", "advanced"]) {
      this.grids[name].replaceChildren(...[...this.fields.values()].filter((field) => field.spec.group === name).map((field) => field.element));
    }
    this.kind = kind;
    this.keyNote.hidden = !fields.some((spec) => spec.kind === "secret" && spec.group === "model");
    this.testButton.textContent = local ? this.words.check : this.words.test;
    this.arrangeSettings();
    this.count();
    const key = focused?.closest("[data-key]")?.dataset.key;
    const again = focused?.isConnected ? focused : this.fields.get(key)?.input;
    if (again && document.activeElement !== again && key) {
      again.focus();
      if (range && range[0] !== null && again.setSelectionRange && again.type !== "checkbox") again.setSelectionRange(...range);
    }
  }

  arrangeSettings() {
    const all = [...this.fields.values()].filter((field) => field.spec.group === "settings");
    this.settings.hidden = !all.length;
    if (!this.settings.open) return;
    const terms = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const set = (field) => field.spec.key in this.values || field.spec.key in this.secrets;
    const fits = all.filter((field) => terms.every((term) => `${field.spec.label} ${field.spec.code} ${field.spec.help}`.toLowerCase().includes(term)));
    const order = fits.toSorted((a, b) => (set(b) - set(a)) || (b.spec.known - a.spec.known));
    const shown = order.filter((field, index) => set(field) || (terms.length || field.spec.known) && index < SHOWN_SETTINGS);
    this.grids.settings.replaceChildren(...shown.map((field) => field.element));
    this.search.hidden = all.length <= 8;
    this.more.textContent = fits.length > shown.length ? fill(this.words.more_settings, { count: fits.length - shown.length }) : "";
  }

  count() {
    const given = (group) => [...this.fields.values()].filter((field) => field.spec.group === group && field.spec.key !== "pretrained_model_type" && (field.spec.key in this.values || field.spec.key in this.secrets)).length;
    const title = (text, group) => given(group) ? `${text} · ${fill(this.words.set_count, { count: given(group) })}` : text;
    this.settingsName.textContent = title(fill(this.words.group_settings, { kind: this.kind }), "settings");
    this.advancedName.textContent = title(this.words.group_advanced, "advanced");
  }

  checked(message) {
    if (message.number !== undefined && message.number < this.number) return;
    this.told = message;
    if (message.fields) this.describe(message);
    this.showLine();
    const wrong = [...this.fields.values()].filter((field) => field.say());
    const rest = message.errors[""] ?? Object.entries(message.errors).find(([key]) => !this.fields.has(key))?.[1];
    this.whole.textContent = rest ?? "";
    this.whole.hidden = !rest;
    return wrong;
  }

  refused(message) {
    const wrong = this.checked(message);
    const hidden = wrong.find((field) => !field.element.isConnected || field.element.closest("details:not([open])"));
    if (hidden) this.show(hidden);
    const count = wrong.length || 1;
    this.progress({ state: "failed", stage: fill(count > 1 ? this.words.fix_many : this.words.fix, { count }) });
    wrong[0]?.input.focus();
  }

  show(field) {
    const details = field.spec.group === "settings" ? this.settings : this.advanced;
    details.open = true;
    this.arrangeSettings();
  }

  trouble({ what, text }) {
    if (what === "paste") this.pasteSaid.textContent = text;
    else { this.whole.textContent = text; this.whole.hidden = false; }
  }

  running(spec) { return this.work.state === "ready" && this.work.alias === this.values[spec.key]; }

  progress(work) {
    const begun = this.work.state !== "running" && work.state === "running";
    if (begun) this.since = performance.now();
    const had = this.root.contains(document.activeElement);
    this.work = work;
    const running = work.state === "running";
    this.all.disabled = running;
    this.deployButton.hidden = this.testButton.hidden = running;
    this.cancelButton.hidden = !running;
    this.bar.hidden = !running;
    if (Number.isFinite(work.fraction)) this.bar.value = work.fraction; else this.bar.removeAttribute("value");
    this.sign.textContent = SIGNS[work.state] ?? "";
    this.stage.textContent = work.stage;
    this.root.dataset.state = work.state;
    this.clock();
    if (begun && had) this.cancelButton.focus();
    if (!running) { this.finish(work); if (had && !this.root.contains(document.activeElement)) this.deployButton.focus(); }
    else this.after.replaceChildren(...this.remarks(work));
  }

  /** The field that an error is about: the one that the kernel names, or a setting that was given and that the error names. */
  blamed({ field, stage }) {
    if (this.fields.has(field)) return field;
    const words = stage.split(/[^\w.]+/);
    return Object.keys(this.values).find((key) => key.startsWith("infer_params.") && this.fields.has(key) && words.includes(this.fields.get(key).spec.code));
  }

  clock() {
    const took = this.since === undefined ? 0 : (performance.now() - this.since) / 1000;
    this.seconds.textContent = this.work.state === "running" && took >= 1 ? fill(this.words.seconds, { seconds: Math.floor(took) }) : "";
  }

  remarks(work) { return (work.notes ?? []).map((text) => make("p", { className: "bz-quiet", textContent: text })); }

  finish(work) {
    const parts = this.remarks(work);
    if (work.hint) parts.push(make("p", { className: "bz-hint", textContent: work.hint }));
    if (work.log) parts.push(make("details", {}, make("summary", { textContent: this.words.log }), make("pre", { className: "bz-log", tabIndex: 0, textContent: work.log })));
    if (work.rows) parts.push(make("dl", { className: "bz-facts" }, ...work.rows.flatMap(([name, text]) => [make("dt", { textContent: name }), make("dd", { textContent: text })])));
    if (work.state === "ready") {
      const chat = button(this.words.chat, () => this.insert([work.chat], chat));
      const undeploy = button(this.words.undeploy, () => {  // asks first: by being pressed twice
        if (undeploy.textContent === this.words.undeploy) undeploy.textContent = fill(this.words.sure, { alias: work.alias });
        else this.send({ do: "undeploy", alias: work.alias });
      });
      undeploy.onblur = () => { undeploy.textContent = this.words.undeploy; };
      parts.push(make("div", { className: "bz-row" }, chat, undeploy));
    }
    this.after.replaceChildren(...parts);
    const blamed = work.state === "failed" ? this.blamed(work) : undefined;
    if (blamed) this.told = { ...this.told, errors: { ...this.told.errors, [blamed]: work.stage } };
    for (const field of this.fields.values()) field.say();
  }
}

export default {
  initialize({ model }) {
    const form = new Form(model);
    return () => form.end();
  },
};
