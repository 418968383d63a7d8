import assert from "node:assert/strict";
import { test } from "node:test";
import {
  announce,
  Channel,
  clock,
  fill,
  hasTerms,
  isSend,
  make,
  setAlert,
  terms,
} from "../../byzer_magic/widgets/static/kit.js";
import { Kernel, openPage, wait } from "./page.js";

openPage();

test("channel numbers messages and calls the handler of a type", () => {
  const kernel = new Kernel();
  const got = [];
  const channel = new Channel(kernel, { reply: (message) => got.push(message) });
  assert.equal(channel.send("ready"), 1);
  assert.equal(channel.send("open", { model: "a" }), 2);
  assert.deepEqual(kernel.sent, [
    { type: "ready", id: 1 },
    { type: "open", id: 2, model: "a" },
  ]);
  kernel.emit("reply", { state: "done" }, 2);
  kernel.emit("unknown");
  assert.deepEqual(got, [{ type: "reply", id: 2, state: "done" }]);
  channel.close();
  kernel.emit("reply", {}, 2);
  assert.equal(got.length, 1);
});

test("channel envelope cannot be overwritten by fields", () => {
  const kernel = new Kernel();
  new Channel(kernel, {}).send("ask", { type: "other", id: 99 });
  assert.deepEqual(kernel.sent[0], { type: "ask", id: 1 });
});

test("channel reports a busy kernel until it replies", async () => {
  const kernel = new Kernel();
  const states = [];
  const channel = new Channel(kernel, {}, { after: 20, busy: (busy) => states.push(busy) });
  channel.ask("ask");
  kernel.emit("update"); // unasked: not a reply
  await wait(40);
  assert.deepEqual(states, [true]);
  kernel.emit("received", {}, 1);
  assert.deepEqual(states, [true, false]);
  channel.send("close");
  await wait(40);
  assert.deepEqual(states, [true, false]);
});

test("channel uploads a file in chunks", async () => {
  const kernel = new Kernel();
  const blob = new Blob([new Uint8Array(2.5 * 1024 * 1024).fill(7)]);
  await new Channel(kernel, {}).upload(blob, { name: "a.wav" });
  assert.deepEqual(
    kernel.sent.map(({ at, of, name }) => [at, of, name]),
    [
      [0, 3, "a.wav"],
      [1, 3, "a.wav"],
      [2, 3, "a.wav"],
    ],
  );
  assert.equal(
    kernel.sent.reduce((sum, { buffers }) => sum + buffers[0].byteLength, 0),
    blob.size,
  );
});

test("channel uploads an empty file as one chunk", async () => {
  const kernel = new Kernel();
  await new Channel(kernel, {}).upload(new Blob([]), {});
  assert.deepEqual(
    kernel.sent.map(({ at, of }) => [at, of]),
    [[0, 1]],
  );
});

test("fill replaces fields and empties those without a value", () => {
  assert.equal(fill("{a} of {b}{c}", { a: 1, b: "x" }), "1 of x");
});

test("clock shows minutes and seconds", () => {
  assert.deepEqual([0, 9.9, 60, 3599].map(clock), ["0:00", "0:09", "1:00", "59:59"]);
});

test("search needs every term, in any case", () => {
  assert.deepEqual(terms("  Open  AI "), ["open", "ai"]);
  assert.ok(hasTerms("OpenAI and compatible", ["open", "comp"]));
  assert.ok(!hasTerms("OpenAI", ["open", "azure"]));
});

test("make sets attributes and properties", () => {
  const node = make("input", { id: "i", "aria-label": "name", role: "combobox", spellcheck: false, title: undefined });
  assert.equal(node.getAttribute("aria-label"), "name");
  assert.equal(node.getAttribute("role"), "combobox");
  assert.equal(node.id, "i");
  assert.ok(!node.hasAttribute("title"));
});

test("live regions are written only when the text differs", () => {
  const region = make("p", { role: "status" }, "same");
  const child = region.firstChild;
  announce(region, "same");
  assert.ok(region.firstChild === child);
  setAlert(region, undefined);
  assert.ok(region.hidden);
  setAlert(region, "failed");
  assert.ok(!region.hidden);
});

test("enter sends, but not with shift and not in an input method", () => {
  assert.ok(isSend({ key: "Enter" }));
  assert.ok(!isSend({ key: "Enter", shiftKey: true }));
  assert.ok(!isSend({ key: "Enter", isComposing: true }));
  assert.ok(!isSend({ key: "Enter", keyCode: 229 }));
});
