// The log of a chat window: turns as the kernel has rendered them, the newest at the end.
import { button, find, isSend, make } from "../kit.js";
import { grow } from "./composer.js";

const NEAR_PX = 48; // as close to its end as this, the log follows what arrives

/** @typedef {import("./state.js").Turn} Turn */
/**
 * @typedef {object} LogActions
 * @property {(text: string) => void} copy
 * @property {(turn: Turn, text: string) => void} askAgain
 * @property {() => boolean} isRunning
 * @property {() => void} focusInput
 */

export class Log {
  /**
   * @param {import("../kit.js").Words} words
   * @param {LogActions} actions
   */
  constructor(words, actions) {
    this.words = words;
    this.actions = actions;
    const attributes = { role: "log", "aria-live": "polite", "aria-label": words.log };
    this.root = make("div", { className: "bz-chat-log", tabIndex: 0, ...attributes });
    this.follows = true;
    this.root.addEventListener("scroll", () => {
      this.follows = this.isNearEnd();
    });
    // An image has its size only now; `load` does not bubble.
    this.root.addEventListener("load", () => this.follows && this.toEnd(), true);
  }

  isNearEnd() {
    return this.root.scrollHeight - this.root.scrollTop - this.root.clientHeight < NEAR_PX;
  }

  toEnd() {
    this.root.scrollTop = this.root.scrollHeight;
  }

  /**
   * Change the log, and stay at its end; a reader who has scrolled up is left where they are.
   * @param {() => void} change
   */
  following(change) {
    const follow = this.isNearEnd();
    change();
    if (follow) this.toEnd();
  }

  /**
   * @param {number} id
   * @returns {any}
   */
  nodeOf(id) {
    return this.root.querySelector(`[data-turn="${id}"]`);
  }

  /** @param {Turn[]} turns */
  setTurns(turns) {
    const shown = new Set(turns.map((turn) => String(turn.id)));
    for (const node of [...this.root.children]) {
      if (!shown.has(/** @type {HTMLElement} */ (node).dataset.turn ?? "")) node.remove();
    }
    this.following(() => {
      for (const turn of turns) this.setTurn(turn);
    });
  }

  /**
   * Remove a turn and all that follow it.
   * @param {number} id
   */
  truncate(id) {
    const node = this.nodeOf(id);
    while (node?.nextSibling) node.nextSibling.remove();
    node?.remove();
  }

  /** @param {Turn} turn */
  setTurn(turn) {
    const node = this.nodeOf(turn.id) ?? this.create(turn.id);
    const [prompt, alias, body, tools] = node.children;
    prompt.innerHTML = turn.prompt;
    alias.textContent = turn.alias;
    if (!turn.running || !body.children.length) setBlocks(body, 0, turn.blocks);
    node.setAttribute("aria-busy", String(turn.running));
    node.classList.toggle("bz-running", turn.running);
    tools.replaceChildren(
      this.tool("copy", () => this.actions.copy(turn.answer)),
      this.tool("edit", () => this.edit(node, turn)),
      this.tool("retry", () => this.actions.askAgain(turn, turn.text)),
    );
  }

  /** @param {number} id */
  create(id) {
    const body = make("div", { className: "bz-answer jp-RenderedHTMLCommon mathjax_ignore" });
    const tools = make("div", { className: "bz-chat-tools" });
    const prompt = make("div", { className: "bz-chat-you" });
    const node = make("article", { className: "bz-chat-turn" }, prompt, make("strong"), body, tools);
    node.dataset.turn = String(id);
    return this.root.appendChild(node);
  }

  /**
   * @param {string} name
   * @param {() => void} click
   */
  tool(name, click) {
    const made = button(this.words[name], click);
    made.title = this.words[`${name}_hint`];
    made.setAttribute("aria-label", `${this.words[name]}: ${made.title}`);
    return made;
  }

  /**
   * Replace blocks of an answer, from the block with index `begin` on.
   * @param {number} id
   * @param {number} begin
   * @param {string[]} blocks
   */
  setAnswer(id, begin, blocks) {
    const body = this.nodeOf(id)?.children[2];
    if (body) this.following(() => setBlocks(body, begin, blocks));
  }

  /**
   * Edit a prompt in its place.
   * @param {HTMLElement} node
   * @param {Turn} turn
   */
  edit(node, turn) {
    if (this.actions.isRunning() || node.querySelector("textarea")) return;
    const prompt = node.children[0];
    const text = make("textarea", { value: turn.text, rows: 2, className: "bz-chat-input" });
    text.setAttribute("aria-label", this.words.edit_hint);
    const cancel = () => {
      prompt.innerHTML = turn.prompt;
      this.actions.focusInput();
    };
    const save = () => {
      if (text.value.trim()) this.actions.askAgain(turn, text.value);
      this.actions.focusInput();
    };
    text.onkeydown = (event) => {
      if (event.key === "Escape") cancel();
      else if (isSend(event)) {
        event.preventDefault();
        save();
      }
    };
    text.oninput = () => grow(text);
    const buttons = [button(this.words.save, save, "bz-chat-send"), button(this.words.cancel, cancel)];
    find(prompt, "p")?.remove();
    prompt.append(make("div", { className: "bz-chat-edit" }, text, ...buttons));
    grow(text);
    text.focus();
  }

  /** Take away what needs a kernel. */
  freeze() {
    for (const part of this.root.querySelectorAll(".bz-chat-tools, .bz-chat-edit")) part.remove();
    for (const turn of this.root.children) turn.classList.remove("bz-running");
  }
}

/**
 * @param {any} body
 * @param {number} begin
 * @param {string[]} blocks
 */
export function setBlocks(body, begin, blocks) {
  while (body.children.length > begin + blocks.length) body.lastChild.remove();
  for (const [number, html] of blocks.entries()) {
    const node = body.children[begin + number] ?? body.appendChild(make("div", { className: "bz-block" }));
    if (node.bzHtml !== html) setBlock(node, html);
    node.bzHtml = html;
  }
}

/**
 * Set the HTML of a block; what the reader has unfolded stays unfolded.
 * @param {HTMLElement} node
 * @param {string} html
 */
function setBlock(node, html) {
  const open = new Map([...node.querySelectorAll("details")].map((fold) => [fold.dataset.fold, fold.open]));
  node.innerHTML = html;
  for (const fold of node.querySelectorAll("details")) fold.open = open.get(fold.dataset.fold) ?? fold.open;
  for (const old of node.querySelectorAll("script")) {
    old.replaceWith(make("script", { textContent: old.textContent })); // players' scripts; innerHTML runs none
  }
}
