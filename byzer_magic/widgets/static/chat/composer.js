// The input of a chat window: text, attached files, send and stop.
import { button, fill, isSend, make } from "../kit.js";

const MAX_HEIGHT_PX = 200;

/**
 * @typedef {object} ComposerActions
 * @property {(text: string, files: string[]) => void} send
 * @property {() => void} stop
 * @property {(file: File) => string} refusal  why a file cannot be attached, or nothing
 * @property {(id: string, file: File) => void} upload
 * @property {(text: string) => void} report
 */

export class Composer {
  /**
   * @param {import("../kit.js").Words} words
   * @param {ComposerActions} actions
   */
  constructor(words, actions) {
    this.words = words;
    this.actions = actions;
    this.running = false;
    /** @type {Map<string, HTMLElement>} */
    this.files = new Map(); // the chip of each attached file, by id
    /** @type {File[] | undefined} */
    this.early = []; // files that came before it was known which ones the model accepts
    this.chips = make("ul", { className: "bz-chat-chips" });
    this.input = make("textarea", { rows: 1, className: "bz-chat-input" });
    this.picker = make("input", { type: "file", multiple: true, hidden: true });
    this.attachButton = button(words.attach, () => this.picker.click());
    this.sendButton = button(words.send, () => this.submit(), "bz-chat-send");
    this.stopButton = button(words.stop, () => actions.stop(), "bz-chat-stop");
    const buttons = [this.attachButton, this.picker, this.sendButton, this.stopButton];
    const row = make("div", { className: "bz-chat-row" }, this.input, ...buttons);
    this.root = make("div", { className: "bz-chat-form" }, this.chips, row);
    this.input.onkeydown = (event) => this.key(event);
    this.input.oninput = () => grow(this.input);
    this.picker.onchange = () => {
      this.attach(this.picker.files ?? []);
      this.picker.value = "";
    };
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (isSend(event)) {
      event.preventDefault();
      this.submit();
    }
    if (event.key === "Escape" && this.running) this.actions.stop();
  }

  submit() {
    const text = this.input.value.trim();
    if (this.running || !(text || this.files.size)) return;
    this.actions.send(text, [...this.files.keys()]);
    this.input.value = "";
    this.files.clear();
    this.chips.replaceChildren();
    grow(this.input);
    this.input.focus();
  }

  /** @param {boolean} running */
  setRunning(running) {
    this.running = running;
    this.sendButton.hidden = running;
    this.stopButton.hidden = !running;
  }

  /** @param {string} accept  as of a file input; nothing: no files */
  setAccept(accept) {
    this.picker.accept = accept;
    this.attachButton.hidden = !accept;
    const { early = [] } = this;
    this.early = undefined;
    this.attach(early);
  }

  /** @param {Iterable<File>} files */
  attach(files) {
    if (this.early) this.early.push(...files);
    else for (const file of files) this.attachOne(file);
  }

  /** @param {File} file */
  attachOne(file) {
    const refusal = this.actions.refusal(file);
    if (refusal) {
      this.actions.report(refusal);
      return;
    }
    const id = `f${performance.now()}-${this.files.size}`;
    const remove = button("×", () => this.detach(id));
    remove.setAttribute("aria-label", fill(this.words.remove, { name: file.name }));
    const chip = make("li", { className: "bz-chip" }, file.name || file.type, remove);
    if (file.type.startsWith("image/")) chip.prepend(make("img", { src: URL.createObjectURL(file), alt: "" }));
    this.files.set(id, chip);
    this.chips.append(chip);
    this.actions.upload(id, file);
  }

  /** @param {string} id */
  detach(id) {
    this.files.get(id)?.remove();
    this.files.delete(id);
    this.input.focus();
  }

  /**
   * Take files that are pasted or dropped anywhere on the window.
   * @param {HTMLElement} root
   */
  acceptFilesOn(root) {
    root.addEventListener("paste", (event) => {
      const pasted = [...(event.clipboardData?.files ?? [])];
      if (pasted.length) event.preventDefault();
      this.attach(pasted);
      event.stopPropagation();
    });
    root.addEventListener("dragover", (event) => {
      event.preventDefault();
      event.stopPropagation();
      root.classList.add("bz-dropping");
    });
    root.addEventListener("dragleave", () => root.classList.remove("bz-dropping"));
    root.addEventListener("drop", (event) => {
      event.preventDefault();
      event.stopPropagation();
      root.classList.remove("bz-dropping");
      this.attach(event.dataTransfer?.files ?? []);
    });
  }
}

/**
 * Make a text area as high as its text, up to a limit.
 * @param {HTMLTextAreaElement} area
 */
export function grow(area) {
  area.style.height = "auto";
  area.style.height = `${Math.min(area.scrollHeight + 2, MAX_HEIGHT_PX)}px`;
}
