// The chat window's page: draws what the kernel sends, and tells it what somebody does. HTML comes ready and safe.
const PIECE = 1024 * 1024;  // a websocket takes 10 MB at a time, no more
const ANSWER_MS = 700;  // a kernel that is free answers sooner
const NEAR_PX = 48;  // so near to its end the log follows what comes

function initialize({ model }) {
  const { words, limit } = model.get("state");
  const say = (key, values = {}) => words[key].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
  const make = (tag, set = {}, ...inside) => {
    const node = Object.assign(document.createElement(tag), set);
    node.append(...inside);
    return node;
  };
  const button = (key, act, kind = "") => make("button", { type: "button", className: kind, textContent: words[key], onclick: act });
  const labelled = (key, control) => {
    control.setAttribute("aria-label", words[key]);  // a select's own words would be part of its label's
    return make("label", {}, make("span", { textContent: words[key] }), control);
  };

  let now = { alias: "", models: {}, session: "", sessions: [], system: "", turns: [], running: false };
  let running = false;
  let asked;  // a timer: is there a kernel that listens?
  const files = new Map();

  // ---- what there is

  const models = make("select");
  const sessions = make("select");
  const drawer = make("div", { className: "bz-chat-drawer", hidden: true, id: `bz-${crypto.getRandomValues(new Uint32Array(1))[0]}` });
  const settings = button("settings", () => {
    drawer.hidden = !drawer.hidden;
    settings.setAttribute("aria-expanded", String(!drawer.hidden));
    if (!drawer.hidden) system.focus();
  });
  settings.setAttribute("aria-expanded", "false");
  settings.setAttribute("aria-controls", drawer.id);
  const exported = make("select", {}, make("option", { value: "", textContent: words.export }));
  exported.setAttribute("aria-label", words.export_label);
  for (const to of ["to_cells", "to_note", "to_clipboard", "to_file"]) exported.append(make("option", { value: to, textContent: words[to] }));
  const bar = make("div", { className: "bz-chat-bar" }, labelled("model", models), labelled("session", sessions), settings, exported);

  const system = make("textarea", { rows: 2 });
  const temperature = make("input", { type: "number", min: 0, max: 2, step: 0.1 });
  const tokens = make("input", { type: "number", min: 1, step: 1 });
  const more = make("input", { type: "text", placeholder: "top_p=0.9 seed=1", spellcheck: false });
  drawer.append(labelled("system", system), labelled("temperature", temperature), labelled("max_tokens", tokens), labelled("more", more));

  const log = make("div", { className: "bz-chat-log", tabIndex: 0 });
  log.setAttribute("role", "log");
  log.setAttribute("aria-live", "polite");
  log.setAttribute("aria-label", words.log);
  const status = make("p", { className: "bz-chat-status" });
  status.setAttribute("role", "status");
  const chips = make("ul", { className: "bz-chat-chips" });
  const input = make("textarea", { rows: 1, className: "bz-chat-input" });
  const picker = make("input", { type: "file", multiple: true, hidden: true });
  const attach = button("attach", () => picker.click());
  const send = button("send", () => submit(), "bz-chat-send");
  const stop = button("stop", () => tell({ do: "stop" }), "bz-chat-stop");
  const form = make("div", { className: "bz-chat-form" }, chips, make("div", { className: "bz-chat-row" }, input, attach, picker, send, stop));
  const root = make("div", { className: "bz-chat" }, bar, drawer, log, status, form);
  root.setAttribute("role", "group");

  // ---- to the kernel

  function tell(message, buffers) {
    model.send(message, undefined, buffers);
    clearTimeout(asked);
    asked = setTimeout(() => { status.textContent = words.busy; }, ANSWER_MS);
  }

  function submit() {
    const text = input.value.trim();
    if (running || !(text || files.size)) return;
    tell({ do: "ask", text, files: [...files.keys()] });
    input.value = "";
    files.clear();
    chips.replaceChildren();
    grow(input);
    input.focus();
  }

  function takes(kind) {
    const can = now.models[now.alias] ?? [];
    return kind === "image" ? can.includes("vision") || can.includes("image") : can.includes("transcribe");
  }

  async function add(file) {
    const kind = /^(image|audio)\//.exec(file.type)?.[1] ?? (file.type === "video/webm" ? "audio" : "");
    const able = kind === "image" ? ["vision", "image"] : ["transcribe"];
    const others = Object.keys(now.models).filter((name) => now.models[name].some((ability) => able.includes(ability)));
    if (!kind) status.textContent = say("no_kind", file);
    else if (!takes(kind)) {
      const hint = others.length ? ` ${say("others", { names: others.join(", ") })}` : "";
      status.textContent = say(kind === "image" ? "no_pictures" : "no_sounds", now) + hint;
    } else if (file.size > limit) status.textContent = say("too_large", { name: file.name, limit: limit / 1e6 });
    else {
      const id = `f${performance.now()}-${files.size}`;
      const away = button("remove", () => drop(id));
      away.textContent = "×";
      away.setAttribute("aria-label", say("remove", file));
      const chip = make("li", { className: "bz-chip" }, file.name || file.type, away);
      if (kind === "image") chip.prepend(make("img", { src: URL.createObjectURL(file), alt: "" }));
      files.set(id, chip);
      chips.append(chip);
      const bytes = await file.arrayBuffer();
      const of = Math.max(1, Math.ceil(bytes.byteLength / PIECE));
      for (let at = 0; at < of; at++) {
        tell({ do: "piece", file: id, kind, at, of }, [bytes.slice(at * PIECE, (at + 1) * PIECE)]);
      }
    }
  }

  function drop(id) {
    files.get(id)?.remove();
    files.delete(id);
    input.focus();
  }

  // ---- from the kernel

  let stuck = true;  // to the end of the log
  log.addEventListener("scroll", () => { stuck = low(); });
  log.addEventListener("load", () => { if (stuck) log.scrollTop = log.scrollHeight; }, true);  // a picture has its size now
  const low = () => log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_PX;

  function following(change) {  // the reader who has scrolled up is left alone
    const follow = low();
    change();
    if (follow) log.scrollTop = log.scrollHeight;
  }

  function fill(node, html) {
    const open = new Map([...node.querySelectorAll("details")].map((fold) => [fold.dataset.fold, fold.open]));
    node.innerHTML = html;
    for (const fold of node.querySelectorAll("details")) fold.open = open.get(fold.dataset.fold) ?? fold.open;
    for (const old of node.querySelectorAll("script")) {  // of players and pictures; innerHTML runs none
      const fresh = make("script", { textContent: old.textContent });
      old.replaceWith(fresh);
    }
  }

  function blocks(body, from, list) {
    while (body.children.length > from + list.length) body.lastChild.remove();
    list.forEach((html, number) => {
      const at = from + number;
      const node = body.children[at] ?? body.appendChild(make("div", { className: "bz-block" }));
      if (node.bzHtml !== html) fill(node, html);
      node.bzHtml = html;
    });
  }

  const turnOf = (id) => log.querySelector(`[data-turn="${id}"]`);

  function draw(turn) {
    let node = turnOf(turn.id);
    if (!node) {
      const asks = make("div", { className: "bz-chat-you" });
      const body = make("div", { className: "bz-answer jp-RenderedHTMLCommon mathjax_ignore" });
      const tools = make("div", { className: "bz-chat-tools" });
      node = make("article", { className: "bz-chat-turn" }, asks, make("strong"), body, tools);
      node.dataset.turn = turn.id;
      log.append(node);
    }
    const [asks, who, body, tools] = node.children;
    asks.innerHTML = turn.prompt;
    who.textContent = turn.alias;
    if (!turn.running || !body.children.length) blocks(body, 0, turn.blocks);
    node.setAttribute("aria-busy", String(turn.running));
    node.classList.toggle("bz-running", turn.running);
    const act = (key, what) => {
      const made = button(key, what);
      made.title = words[`${key}_hint`];
      made.setAttribute("aria-label", `${words[key]}: ${words[`${key}_hint`]}`);
      return made;
    };
    tools.replaceChildren(
      act("copy", () => copy(turn.answer)),
      act("edit", () => edit(node, turn)),
      act("retry", () => running || tell({ do: "ask", text: turn.text, at: turn.id })),
    );
  }

  function edit(node, turn) {
    if (running || node.querySelector("textarea")) return;
    const asks = node.children[0];
    const text = make("textarea", { value: turn.text, rows: 2, className: "bz-chat-input" });
    text.setAttribute("aria-label", words.edit_hint);
    const end = () => { asks.innerHTML = turn.prompt; input.focus(); };
    const save = () => { if (text.value.trim() && !running) tell({ do: "ask", text: text.value, at: turn.id }); input.focus(); };
    const place = make("div", { className: "bz-chat-edit" }, text, button("save", save, "bz-chat-send"), button("cancel", end));
    asks.querySelector("p")?.remove();
    asks.append(place);
    text.onkeydown = (event) => {
      if (event.key === "Escape") end();
      else if (enters(event)) { event.preventDefault(); save(); }
    };
    text.oninput = () => grow(text);
    grow(text);
    text.focus();
  }

  function cut(id) {
    const node = turnOf(id);
    while (node?.nextSibling) node.nextSibling.remove();
    node?.remove();
  }

  function choices(select, names, chosen) {
    select.replaceChildren(...names.map((name) => make("option", { value: name, textContent: name })));
    select.value = chosen;
  }

  function state(is) {
    running = is === "working";
    send.hidden = running;
    stop.hidden = !running;
    if (words[is]) status.textContent = say(is, now);
  }

  function setup(all) {
    now = all;
    const title = say("title", now);
    root.setAttribute("aria-label", title);
    input.setAttribute("aria-label", say("input", now));
    input.placeholder = say("placeholder", now);
    choices(models, [...new Set([now.alias, ...Object.keys(now.models)])], now.alias);
    named(now.sessions);
    system.value = now.system;
    picker.accept = ["image", "audio"].filter(takes).map((kind) => `${kind}/*`).join();
    attach.hidden = !picker.accept;
    const shown = new Set(now.turns.map((turn) => String(turn.id)));
    for (const node of [...log.children]) if (!shown.has(node.dataset.turn)) node.remove();
    following(() => now.turns.forEach(draw));
    state(now.running ? "working" : "");
  }

  function named(list) {
    choices(sessions, list, now.session);
    sessions.append(make("option", { value: "", textContent: `+ ${words.new_session}` }));
  }

  const heard = {
    taken() { clearTimeout(asked); if (status.textContent === words.busy) status.textContent = ""; },
    setup,
    models(message) {
      if (status.textContent === words.looking) status.textContent = "";
      setup({ ...now, models: message.models, running });
    },
    turn(message) {
      following(() => { if (message.cut) cut(message.cut); draw(message.turn); });
      if (message.state === "working") log.scrollTop = log.scrollHeight;
      now.turns = [...now.turns.filter((turn) => turnOf(turn.id) && turn.id !== message.turn.id), message.turn];
      if (message.sessions) named(message.sessions);
      const here = root.contains(document.activeElement);  // a button that goes takes the focus with it
      state(message.state);
      if (here && !running && !root.querySelector(".bz-chat-edit")) input.focus({ preventScroll: true });
    },
    blocks(message) {
      const body = turnOf(message.turn)?.children[2];
      if (body) following(() => blocks(body, message.from, message.blocks));
    },
    refused(message) {
      status.textContent = message.text;
      if (message.file) drop(message.file);
      if (message.prompt && !input.value) input.value = message.prompt;
    },
    async export(message) {
      const { to, text, cells, lost } = message;
      let done = words.copied;
      if (to === "to_file") download(text);
      else if (to === "to_clipboard") await copy(text);
      else {
        const made = to === "to_cells" ? cells : [text];
        const kind = to === "to_cells" ? "code" : "markdown";
        if (mount.insert(made, kind)) done = say("exported", { count: made.length }) + (lost && kind === "code" ? ` ${words.lost}` : "");
        else { await copy(made.join("\n\n")); done = words.no_cells; }
      }
      status.textContent = to === "to_file" ? "" : done;
    },
  };

  async function copy(text) {
    if (navigator.clipboard) await navigator.clipboard.writeText(text);
    else {
      const place = root.appendChild(make("textarea", { value: text }));
      place.select();
      document.execCommand("copy");
      place.remove();
    }
    status.textContent = words.copied;
  }

  function download(text) {
    const link = make("a", { href: URL.createObjectURL(new Blob([text], { type: "text/markdown" })), download: `${now.session}.md` });
    link.click();
    URL.revokeObjectURL(link.href);
  }

  // ---- keys and files

  const enters = (event) => event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229;
  function grow(text) {
    text.style.height = "auto";
    text.style.height = `${Math.min(text.scrollHeight + 2, 200)}px`;
  }
  input.onkeydown = (event) => {
    if (enters(event)) { event.preventDefault(); submit(); }
    if (event.key === "Escape" && running) tell({ do: "stop" });
  };
  input.oninput = () => grow(input);
  root.addEventListener("paste", (event) => {
    const pasted = [...(event.clipboardData?.files ?? [])];
    if (pasted.length) event.preventDefault();
    pasted.forEach(add);
    event.stopPropagation();
  });
  root.addEventListener("dragover", (event) => { event.preventDefault(); event.stopPropagation(); root.classList.add("bz-dropping"); });
  root.addEventListener("dragleave", () => root.classList.remove("bz-dropping"));
  root.addEventListener("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    root.classList.remove("bz-dropping");
    [...event.dataTransfer.files].forEach(add);
  });
  picker.onchange = () => { [...picker.files].forEach(add); picker.value = ""; };
  models.onfocus = () => {
    if (Object.keys(now.models).length > 1) return;
    status.textContent = words.looking;
    tell({ do: "models" });
  };
  models.onchange = () => tell({ do: "model", alias: models.value });
  sessions.onchange = () => tell({ do: "session", name: sessions.value });
  for (const control of [system, temperature, tokens, more]) {
    control.onchange = () => tell({ do: "settings", system: system.value, temperature: temperature.value, max_tokens: tokens.value, more: more.value });
  }
  exported.onchange = () => { tell({ do: "export", to: exported.value }); exported.value = ""; };

  const hear = (message) => heard[message.is]?.(message);
  model.on("msg:custom", hear);
  state("");
  const mount = new Mount(model, root, {
    gone: () => { model.send({ do: "gone" }); end(); },
    dead: freeze,
    placed: () => { log.scrollTop = log.scrollHeight; },
  });
  tell({ do: "ready" });

  function deaf() {
    clearTimeout(asked);
    model.off("msg:custom", hear);
  }

  /** Without its kernel nothing can be done here any more; what was said, and what somebody had begun to write, stays. */
  function freeze() {
    deaf();
    mount.freeze();
    for (const part of [bar, drawer, form, ...log.querySelectorAll(".bz-chat-tools, .bz-chat-edit")]) part.remove();
    for (const turn of log.children) turn.classList.remove("bz-running");
    status.textContent = [words.gone, input.value.trim()].filter(Boolean).join("\n\n");
  }

  function end() {
    deaf();
    mount.end();
  }
  return end;
}

export default { initialize };
