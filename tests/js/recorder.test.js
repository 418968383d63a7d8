import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { level, partsOf, Recorder } from "../../byzer_magic/widgets/static/recorder.js";
import { Kernel, openPage, wait, words } from "./page.js";

let kernel;
let recorder;

beforeEach(() => {
  openPage();
  URL.createObjectURL = () => "blob:1";
  URL.revokeObjectURL = () => {};
  kernel = new Kernel({ words: words() });
  recorder = new Recorder(kernel);
});
afterEach(() => recorder.end());

const shown = () => Object.keys(recorder.parts).filter((name) => !recorder.parts[name].hidden);

test("each state shows its own parts", () => {
  assert.deepEqual(partsOf("recording", true), ["stop", "meter"]);
  assert.deepEqual(partsOf("sending", true), ["cancel"]);
  assert.ok(partsOf("recorded", true).includes("record"));
  assert.ok(!partsOf("recorded", false).includes("record"));
});

test("the level of silence is 0, of noise 1", () => {
  assert.equal(level(new Float32Array(8)), 0);
  assert.equal(level(new Float32Array(8).fill(1)), 1);
});

test("without a microphone a file can be chosen, played, sent and discarded", async () => {
  assert.deepEqual(shown(), ["choose"]);
  assert.equal(recorder.status.textContent, "cannot");
  recorder.take(new Blob(["abc"]), "a.wav");
  assert.deepEqual(shown(), ["preview", "send", "discard", "choose"]);
  recorder.parts.send.click();
  await wait(5);
  assert.deepEqual(shown(), ["cancel"]);
  const { at, of, name } = kernel.last("piece");
  assert.deepEqual([at, of, name], [0, 1, "a.wav"]);
  recorder.parts.cancel.click();
  kernel.emit("failed", { text: "cancelled" });
  assert.equal(recorder.status.textContent, "cancelled");
  recorder.parts.discard.click();
  assert.deepEqual(shown(), ["choose"]);
});

test("an empty recording is not kept", () => {
  recorder.take(new Blob([]), "");
  assert.equal(recorder.status.textContent, "empty");
  assert.equal(recorder.audio, undefined);
});

test("recorder ends when the kernel sends end", () => {
  kernel.emit("end");
  assert.equal(kernel.listeners.size, 0);
});
