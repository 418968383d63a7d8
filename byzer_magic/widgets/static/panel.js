// The live panel: it draws what the kernel sends into its mount, and sends back what people click.
// The kernel renders every row and cell; here they are only put where they belong.

const HIDDEN_AFTER = 4000;  // scrolling past is no hiding
const SILENT_AFTER = 8000;
const QUEUED_AFTER = 600;

class Panel {
  constructor(model) {
    this.model = model;
    const { words, frame } = model.get("state");
    this.words = words;
    this.waiting = new Map();  // messages that the kernel has not answered, by number
    this.trays = new Map();  // the open tray of each group
    this.number = 0;
    this.heard = performance.now();
    this.shown = null;
    this.root = document.createElement("div");
    this.root.className = "bz-panel";
    this.root.innerHTML = frame;
    this.body = this.root.querySelector("tbody");
    this.root.addEventListener("click", (event) => this.click(event));
    this.root.addEventListener("submit", (event) => this.submit(event));
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.root.querySelector(".bz-filter").addEventListener("input", () => this.sift());
    this.onMessage = (message) => this.take(message);
    model.on("msg:custom", this.onMessage);
    this.watch = new IntersectionObserver((entries) => { this.near = entries.at(-1).isIntersecting; this.look(); });
    this.watch.observe(this.root);
    this.onVisible = () => this.look();
    document.addEventListener("visibilitychange", this.onVisible);
    this.onLeave = () => { if (this.shown) this.tell(false); };
    window.addEventListener("pagehide", this.onLeave);
    this.mount = new Mount(model, this.root, {
      gone: () => { this.send({ do: "close" }); this.end(); },
      dead: () => this.end(),
      closed: () => this.end(),
      placed: () => this.look(),
      tick: () => this.tick(),
    });
    this.send({ do: "hello" });
  }

  end() {
    if (this.ended) return;
    this.ended = true;
    clearTimeout(this.hiding);
    this.watch.disconnect();
    document.removeEventListener("visibilitychange", this.onVisible);
    window.removeEventListener("pagehide", this.onLeave);
    this.model.off("msg:custom", this.onMessage);
    this.mount.end();
  }

  send(message) {
    const id = ++this.number;
    this.model.send({ id, ...message });
    return id;
  }

  // ---- who looks at it

  tick() {
    const silent = performance.now() - this.heard;
    this.alarm(this.shown && silent > SILENT_AFTER
      ? this.words.silent.replace("{age}", `${Math.round(silent / 1000)} s`) : this.trouble);
  }

  look() {
    const visible = this.root.isConnected && document.visibilityState === "visible" && this.near !== false;
    clearTimeout(this.hiding);
    if (visible && !this.shown) this.tell(true);
    if (!visible && this.shown) this.hiding = setTimeout(() => this.tell(false), HIDDEN_AFTER);
  }

  tell(visible) {
    if (visible && !this.shown) this.heard = performance.now();
    this.shown = visible;
    this.send({ do: "look", visible });
  }

  // ---- what the kernel says

  take(message) {
    this.heard = performance.now();
    if (message.end) this.end();
    else if (message.reply) this.answered(message);
    else this.draw(message);
  }

  draw({ order, rows, cells, gone, summary, trouble, many }) {
    const focused = document.activeElement;
    if (order) this.arrange(order, rows);
    for (const [key, changed] of Object.entries(cells ?? {})) {
      const row = this.row(key);
      for (const [name, shown] of Object.entries(changed)) {
        const cell = row?.querySelector(`[data-cell="${name}"]`);
        if (cell) cell.innerHTML = shown;
      }
      if (row && "model" in changed) this.mark(row);
    }
    if (summary !== undefined) this.root.querySelector(".bz-summary").textContent = summary;
    if (trouble !== undefined) this.alarm(this.trouble = trouble);
    if (many !== undefined) this.root.querySelector(".bz-filter").hidden = !many;
    if (order) {
      this.root.querySelector(".bz-scroll").hidden = !order.length;
      this.sift();
      if (this.root.contains(focused) && focused !== document.activeElement) focused.focus({ preventScroll: true });
    }
  }

  row(key) {
    return this.body.querySelector(`tr[data-key="${CSS.escape(key)}"]`);
  }

  /** Bring rows into an order; those that are there stay as they are, with focus and trays. */
  arrange(order, fresh = {}) {
    const wanted = new Set(order);
    const groups = new Set(order.map((key) => key.split("/")[0]));
    for (const row of [...this.body.rows]) {
      const keep = row.dataset.key ? wanted.has(row.dataset.key) : groups.has(row.dataset.group);
      if (!keep) row.remove();
    }
    for (const alias of this.trays.keys()) if (!groups.has(alias)) this.trays.delete(alias);
    let place = this.body.firstElementChild;
    for (const key of order) {
      let row = this.row(key);
      if (!row) {
        const holder = document.createElement("tbody");
        holder.innerHTML = fresh[key] ?? "";
        row = holder.firstElementChild;
        if (!row) continue;
        this.mark(row);
      }
      if (row === place) place = place.nextElementSibling;
      else this.body.insertBefore(row, place);
      while (place && !place.dataset.key) place = place.nextElementSibling;  // a tray stays behind its row
    }
    for (const row of this.body.querySelectorAll(".bz-model")) {
      const open = wanted.has(`${row.dataset.group}/~`);
      row.querySelector(".bz-twist").setAttribute("aria-expanded", open);
    }
  }

  mark(row) {
    row.classList.toggle("bz-stale-row", row.querySelector(".bz-sign.bz-stale") !== null);
  }

  alarm(text) {
    const line = this.root.querySelector(".bz-alarm");
    if (line.textContent !== (text ?? "")) line.textContent = text ?? "";
    line.hidden = !text;
  }

  sift() {
    const sought = this.root.querySelector(".bz-filter").value.trim().toLowerCase();
    for (const row of this.body.rows) {
      const head = this.row(row.dataset.group);
      row.hidden = sought !== "" && !(head?.cells[0].textContent ?? "").toLowerCase().includes(sought);
    }
  }

  // ---- what people do

  click(event) {
    const button = event.target.closest("button[data-do]");
    if (!button) return;
    const what = button.dataset.do;
    const row = button.closest("tr");
    const group = row?.dataset.group;
    const worker = row?.classList.contains("bz-worker") ? Number(row.dataset.key.split("/").at(-1)) : null;
    if (what === "cancel") this.drop(group, true);
    else if (what === "close") this.finish();
    else if (what === "chat") this.insert(group, `%byzer chat ${group}`);
    else if (what === "new") this.insert(null, "%byzer form");
    else if (what === "toggle") this.ask(button, { do: "open", model: group, open: button.getAttribute("aria-expanded") !== "true" });
    else if (worker !== null) this.act(button, group, { do: what, worker });
    else if (what === "restart") this.act(button, group, { do: what });
    else this.open(group, what, button);
  }

  /** Close at once; the kernel ends its part when it hears of it. */
  finish() {
    this.send({ do: "close" });
    this.end();
  }

  submit(event) {
    event.preventDefault();
    const tray = event.target.closest("tr");
    const what = tray.dataset.tray;
    if (what === "line" || what === "said") return;
    const value = Number(event.target.elements.value?.value ?? 0);
    const button = event.submitter ?? tray.querySelector("form button");
    this.ask(button, { do: what, model: tray.dataset.group, value }, tray);
  }

  key(event) {
    const tray = event.target.closest(".bz-tray");
    if (!tray || !["Escape", "Enter"].includes(event.key)) return;
    if (event.key === "Escape") this.drop(tray.dataset.group, true);
    else if (event.target.tagName !== "INPUT") return;  // a button is pressed by Enter anyway
    else event.target.form.requestSubmit();  // notebooks keep Enter for themselves
    event.preventDefault();
    event.stopPropagation();
  }

  act(button, group, message) {
    this.ask(button, { model: group, ...message }, this.open(group, "said", button));
  }

  ask(button, message, tray = null) {
    const id = this.send(message);
    button.setAttribute("aria-busy", "true");
    const late = setTimeout(() => {
      button.title = this.words.queued;
      if (tray) this.say(tray, this.words.queued);
    }, QUEUED_AFTER);
    this.waiting.set(id, { button, tray, late, title: button.title });
  }

  answered({ reply, state, text, log }) {
    const entry = this.waiting.get(reply);
    if (!entry) return;
    clearTimeout(entry.late);
    entry.button.title = entry.title;
    const over = state !== "going";
    if (over) {
      entry.button.removeAttribute("aria-busy");
      this.waiting.delete(reply);
    }
    if (!entry.tray) return;
    this.say(entry.tray, text ?? "", state === "failed");
    if (log !== undefined) {
      const place = entry.tray.querySelector(".bz-log");
      place.textContent = log;
      place.scrollTop = place.scrollHeight;
    }
    if (state === "done" && entry.tray.dataset.tray !== "logs") setTimeout(() => this.fold(entry.tray), 5000);
  }

  fold(tray) {
    if (!tray.contains(document.activeElement)) tray.remove();
    if (this.trays.get(tray.dataset.group)?.tray === tray && !tray.isConnected) this.trays.delete(tray.dataset.group);
  }

  say(tray, text, bad = false) {
    const line = tray.querySelector(".bz-said");
    line.textContent = text;
    line.classList.toggle("bz-bad", bad);
  }

  /** Open the small form of an action below its row; a second click on the same button closes it. */
  open(group, what, button, fill = () => {}) {
    const before = this.trays.get(group);
    this.drop(group);
    if (before?.button === button && what !== "said") return null;
    const tray = document.createElement("tr");
    tray.className = "bz-tray";
    tray.dataset.group = group;
    tray.dataset.tray = what;
    const cell = tray.insertCell();
    cell.colSpan = this.root.querySelectorAll("thead th").length;
    const inner = this.root.querySelector(`template[data-tray="${what}"]`).content.cloneNode(true);
    for (const node of inner.querySelectorAll("span")) node.textContent = node.textContent.replace("{alias}", group);
    cell.append(inner);
    const row = button.closest("tr.bz-model, tr.bz-worker") ?? this.row(group);
    row.after(tray);
    this.trays.set(group, { tray, button: button.isConnected ? button : row.querySelector(".bz-more") });
    fill(tray);
    if (what === "scale") {
      const input = tray.querySelector("input");
      input.value = this.row(group).querySelector("[data-workers]")?.dataset.workers ?? 1;
      input.focus();
      input.select();
    } else if (what === "logs") this.ask(tray.querySelector("form button"), { do: "logs", model: group }, tray);
    else if (what !== "said") tray.querySelector("form button").focus();
    return tray;
  }

  drop(group, back = false) {
    const entry = this.trays.get(group);
    if (!entry) return;
    this.trays.delete(group);
    entry.tray.remove();
    if (back) entry.button.focus();
  }

  /** Put a command into a new cell below; where the page cannot do that, show it to be copied. */
  insert(group, line) {
    if (this.mount.insert([line])) return;
    const button = group && this.row(group)?.querySelector('[data-do="chat"]');
    if (button) this.open(group, "line", button, (tray) => { tray.querySelector("code").textContent = line; });
    else this.alarm(this.trouble = `${this.words.below} ${line}`);
  }
}

export default {
  initialize({ model }) {
    const panel = new Panel(model);
    return () => panel.end();
  },
};
