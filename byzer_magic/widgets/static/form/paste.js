// The part of a deploy form into which a command can be pasted.
import { announce, button, make } from "../kit.js";

export class Paste {
  /**
   * @param {import("../kit.js").Words} words
   * @param {(text: string) => void} send
   */
  constructor(words, send) {
    this.send = send;
    const attributes = { "aria-label": words.paste, placeholder: words.paste_help };
    this.area = make("textarea", { rows: 4, spellcheck: false, className: "bz-code", ...attributes });
    this.error = make("p", { className: "bz-remark bz-bad", role: "status" });
    const submit = button(words.paste_do, () => this.submit(), "bz-primary");
    const close = button(words.close, () => this.open(false));
    const row = make("div", { className: "bz-row" }, submit, close);
    this.element = make("div", { className: "bz-paste", hidden: true }, this.area, this.error, row);
    this.toggle = button(words.paste, () => this.open(this.element.hidden === true));
    this.toggle.setAttribute("aria-expanded", "false");
  }

  submit() {
    this.send(this.area.value);
  }

  /** @param {boolean} open */
  open(open) {
    this.element.hidden = !open;
    this.toggle.setAttribute("aria-expanded", String(open));
    announce(this.error, "");
    (open ? this.area : this.toggle).focus();
    if (!open) this.area.value = ""; // a pasted command may have a key in it
  }
}
