import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { Question } from "../../byzer_magic/widgets/static/question.js";
import { Kernel, openPage } from "./page.js";

let kernel;
let question;

beforeEach(() => {
  openPage();
  kernel = new Kernel({ text: "Empty.", choices: ["Add $0.50", "Stop"] });
  question = new Question(kernel);
});
afterEach(() => question.end());

test("the kernel hears that there are buttons, and which was clicked, once", () => {
  assert.ok(kernel.last("ready"));
  assert.deepEqual(
    question.buttons.map((each) => each.textContent),
    ["Add $0.50", "Stop"],
  );
  question.buttons[0].click();
  assert.equal(kernel.last("choose").choice, "Add $0.50");
  assert.ok(question.buttons.every((each) => each.disabled));
});

test("a cell that is deleted stops the request", () => {
  question.gone();
  assert.ok(kernel.last("gone"));
  assert.equal(kernel.listeners.size, 0);
});

test("the question ends when the kernel sends end", () => {
  kernel.emit("end");
  assert.equal(kernel.listeners.size, 0);
});
