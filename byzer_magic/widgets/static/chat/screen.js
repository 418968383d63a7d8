// The chat window: it shows what the kernel renders, and sends what the user does.
import { announce, Channel, copyText, download, fill, hasFocus, make } from "../kit.js";
import { Mount } from "../mount.js";
import { Composer } from "./composer.js";
import { Log } from "./log.js";
import { Settings } from "./settings.js";
import { acceptList, EMPTY, kindOf, refusal, withTurn } from "./state.js";

const BUSY_AFTER = 700; // a kernel that is free replies sooner

/** @typedef {import("./state.js").Setup} Setup */
/** @typedef {import("./state.js").Turn} Turn */

export class Chat {
  /** @param {import("../kit.js").Model} model */
  constructor(model) {
    const { words, limit } = model.get("state");
    /** @type {import("../kit.js").Words} */
    this.words = words;
    /** @type {number} */
    this.limit = limit; // bytes of an attached file
    this.setup = EMPTY;
    this.settings = new Settings(words, {
      findModels: () => this.findModels(),
      chooseModel: (alias) => this.channel.ask("model", { alias }),
      chooseSession: (name) => this.channel.ask("session", { name }),
      change: (values) => this.channel.ask("settings", values),
      export: (to) => this.channel.ask("export", { to }),
    });
    this.log = new Log(words, {
      copy: (text) => this.copy(text),
      askAgain: (turn, text) => this.askAgain(turn, text),
      isRunning: () => this.composer.running,
      focusInput: () => this.composer.input.focus(),
    });
    this.composer = new Composer(words, {
      send: (text, files) => this.channel.ask("ask", { text, files }),
      stop: () => this.channel.ask("stop"),
      refusal: (file) => refusal(this.setup, file, this.limit, words),
      upload: (file, blob) => this.channel.upload(blob, { file, kind: kindOf(blob.type) }),
      report: (text) => this.report(text),
    });
    this.status = make("p", { className: "bz-chat-status", role: "status" });
    const parts = [this.settings.bar, this.settings.drawer, this.log.root, this.status, this.composer.root];
    this.root = make("div", { className: "bz-chat", role: "group" }, ...parts);
    this.composer.acceptFilesOn(this.root);
    this.channel = new Channel(model, this.handlers(), { after: BUSY_AFTER, busy: (busy) => this.busy(busy) });
    this.showState("");
    this.mount = new Mount(model, this.root, {
      gone: () => this.close(),
      dead: () => this.freeze(),
      placed: () => this.log.toEnd(),
    });
    this.channel.ask("ready");
  }

  // ---- to the kernel

  findModels() {
    if (Object.keys(this.setup.models).length > 1) return;
    this.report(this.words.looking);
    this.channel.ask("models");
  }

  /**
   * Ask again, in place of an earlier turn and all that followed it.
   * @param {Turn} turn
   * @param {string} text
   */
  askAgain(turn, text) {
    if (!this.composer.running) this.channel.ask("ask", { text, at: turn.id });
  }

  // ---- from the kernel

  /** @returns {Record<string, (message: any) => void>} */
  handlers() {
    return {
      setup: (message) => this.show(message),
      models: ({ models }) => {
        this.clear(this.words.looking);
        this.show({ ...this.setup, models, running: this.composer.running });
      },
      turn: (message) => this.turn(message),
      blocks: ({ turn, begin, blocks }) => this.log.setAnswer(turn, begin, blocks),
      refused: ({ text, file, prompt }) => {
        this.report(text);
        if (file) this.composer.detach(file);
        if (prompt && !this.composer.input.value) this.composer.input.value = prompt;
      },
      export: (message) => this.exported(message),
    };
  }

  /** @param {boolean} busy */
  busy(busy) {
    if (busy) this.report(this.words.busy);
    else this.clear(this.words.busy);
  }

  /** @param {Setup} setup */
  show(setup) {
    this.setup = setup;
    const { input } = this.composer;
    this.root.setAttribute("aria-label", fill(this.words.title, setup));
    input.setAttribute("aria-label", fill(this.words.input, setup));
    input.placeholder = fill(this.words.placeholder, setup);
    this.settings.show(setup);
    this.composer.setAccept(acceptList(setup));
    this.log.setTurns(setup.turns);
    this.showState(setup.running ? "working" : "");
  }

  /** @param {{turn: Turn, replaces: number, state: string, sessions?: string[]}} message */
  turn({ turn, replaces, state, sessions }) {
    this.log.following(() => {
      if (replaces) this.log.truncate(replaces);
      this.log.setTurn(turn);
    });
    if (state === "working") this.log.toEnd();
    this.setup = { ...this.setup, turns: withTurn(this.setup.turns, turn, replaces) };
    if (sessions) this.settings.showSessions(sessions, this.setup.session);
    const focused = hasFocus(this.root); // a button that is hidden takes the focus with it
    this.showState(state);
    const editing = this.root.querySelector(".bz-chat-edit");
    if (focused && !this.composer.running && !editing) this.composer.input.focus({ preventScroll: true });
  }

  /** @param {string} state  `working`, `done`, `stopped`, `failed`, or nothing */
  showState(state) {
    this.composer.setRunning(state === "working");
    if (this.words[state]) this.report(fill(this.words[state], this.setup));
  }

  /** @param {{to: string, text: string, cells: string[], lost: boolean}} message  `lost`: files stay behind */
  async exported({ to, text, cells, lost }) {
    if (to === "to_file") {
      download(text, `${this.setup.session}.md`, "text/markdown");
      this.report("");
    } else if (to === "to_clipboard") await this.copy(text);
    else {
      const made = to === "to_cells" ? cells : [text];
      const kind = to === "to_cells" ? "code" : "markdown";
      if (this.mount.insert(made, kind)) {
        const note = lost && kind === "code" ? ` ${this.words.lost}` : "";
        this.report(fill(this.words.exported, { count: made.length }) + note);
      } else {
        await this.copy(made.join("\n\n"));
        this.report(this.words.no_cells);
      }
    }
  }

  // ---- the status line

  /** @param {string} text */
  report(text) {
    announce(this.status, text);
  }

  /** @param {string} text  is removed where it is what the line shows */
  clear(text) {
    if (this.status.textContent === text) this.report("");
  }

  /** @param {string} text */
  async copy(text) {
    await copyText(text);
    this.report(this.words.copied);
  }

  // ---- the end

  close() {
    this.channel.send("close");
    this.end();
  }

  /** Without its kernel nothing can be done here; the conversation stays, and what the user had begun to write. */
  freeze() {
    this.channel.close();
    this.mount.freeze();
    this.settings.remove();
    this.composer.root.remove();
    this.log.freeze();
    this.report([this.words.gone, this.composer.input.value.trim()].filter(Boolean).join("\n\n"));
  }

  end() {
    this.channel.close();
    this.mount.end();
  }
}

export default {
  /** @param {{model: import("../kit.js").Model}} context */
  initialize({ model }) {
    const chat = new Chat(model);
    return () => chat.end();
  },
};
