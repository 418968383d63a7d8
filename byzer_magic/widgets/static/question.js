// A question in a cell that waits for the answer: a text, and a button for each choice.
import { button, Channel, make } from "./kit.js";
import { Mount } from "./mount.js";

export class Question {
  /** @param {import("./kit.js").Model} model */
  constructor(model) {
    /** @type {{text: string, choices: string[]}} */
    const { text, choices } = model.get("state");
    this.buttons = choices.map((choice) => button(choice, () => this.choose(choice)));
    const label = make("p", { role: "alert", textContent: text });
    this.root = make("div", { className: "bz-question", role: "group", "aria-label": text }, label, ...this.buttons);
    this.channel = new Channel(model, { end: () => this.end() });
    const end = () => this.end();
    // No button takes the focus: who types in another cell must not add money with Enter.
    this.mount = new Mount(model, this.root, { gone: () => this.gone(), dead: end, closed: end });
    this.channel.send("ready");
  }

  /** @param {string} choice */
  choose(choice) {
    for (const each of this.buttons) each.disabled = true;
    this.channel.send("choose", { choice });
  }

  gone() {
    this.channel.send("gone");
    this.end();
  }

  end() {
    this.channel.close();
    this.mount.end();
  }
}

export default {
  /** @param {{model: import("./kit.js").Model}} context */
  initialize({ model }) {
    const question = new Question(model);
    return () => question.end();
  },
};
