import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { Chat } from "../../byzer_magic/widgets/static/chat/screen.js";
import { acceptList, aliases, EMPTY, kindOf, refusal, withTurn } from "../../byzer_magic/widgets/static/chat/state.js";
import { Kernel, openPage, press, wait, words } from "./page.js";

const WORDS = words({
  no_kind: "{name} is not an image",
  no_images: "{alias} takes no images.",
  no_audio: "{alias} takes no audio.",
  others: "These do: {names}.",
  too_large: "{name} is larger than {limit} MB",
  working: "working",
  done: "",
  stopped: "stopped",
});
const SETUP = {
  ...EMPTY,
  alias: "m",
  session: "s",
  sessions: ["s"],
  models: { m: ["chat", "vision"], ear: ["transcribe"] },
};

const turn = (id, more = {}) => ({
  id,
  text: `q${id}`,
  prompt: `<p>q${id}</p>`,
  alias: "m",
  running: false,
  answer: `a${id}`,
  blocks: [`<p>a${id}</p>`],
  ...more,
});

// ---- state

test("files are images, audio, or nothing", () => {
  assert.deepEqual(["image/png", "audio/wav", "video/webm", "text/plain", ""].map(kindOf), [
    "image",
    "audio",
    "audio",
    "",
    "",
  ]);
});

test("a model accepts what its capabilities allow", () => {
  assert.equal(acceptList(SETUP), "image/*");
  assert.equal(acceptList({ ...SETUP, alias: "ear" }), "audio/*");
  assert.equal(acceptList({ ...SETUP, alias: "unknown" }), "");
});

test("refusal names the models that would take a file", () => {
  const why = (type, size = 1) => refusal(SETUP, { name: "f", type, size }, 1e6, WORDS);
  assert.equal(why("image/png"), "");
  assert.equal(why("audio/wav"), "m takes no audio. These do: ear.");
  assert.equal(why("text/plain"), "f is not an image");
  assert.equal(why("image/png", 2e6), "f is larger than 1 MB");
});

test("a turn is added, renewed, or replaces what followed an earlier one", () => {
  const ids = (turns) => turns.map((one) => one.id);
  assert.deepEqual(ids(withTurn([turn(1)], turn(2), 0)), [1, 2]);
  assert.deepEqual(ids(withTurn([turn(1), turn(2)], turn(2), 0)), [1, 2]);
  assert.deepEqual(ids(withTurn([turn(1), turn(2), turn(3)], turn(4), 2)), [1, 4]);
  assert.deepEqual(ids(withTurn([turn(1)], turn(4), 9)), [1, 4]);
});

test("the present model is the first to choose from", () => {
  assert.deepEqual(aliases({ ...SETUP, alias: "ear" }), ["ear", "m"]);
});

// ---- screen

let kernel;
let chat;

beforeEach(() => {
  openPage();
  kernel = new Kernel({ words: WORDS, limit: 1e6 });
  chat = new Chat(kernel);
});
afterEach(() => chat.end());

const show = (more = {}) => kernel.emit("setup", { ...SETUP, ...more });
const turns = () => [...chat.log.root.children];
const tool = (node, at) => node.querySelectorAll(".bz-chat-tools button")[at];

test("chat is ready and shows the turns of its session", () => {
  assert.deepEqual(kernel.sent, [{ type: "ready", id: 1 }]);
  show({ turns: [turn(1), turn(2)] });
  assert.deepEqual(
    turns().map((one) => one.dataset.turn),
    ["1", "2"],
  );
  show({ turns: [turn(2)] });
  assert.deepEqual(
    turns().map((one) => one.dataset.turn),
    ["2"],
  );
});

test("enter sends what was typed, and empties the input", () => {
  show();
  chat.composer.input.value = " hello ";
  press(chat.composer.input, "Enter", { shiftKey: true });
  assert.equal(kernel.last("ask"), undefined);
  press(chat.composer.input, "Enter");
  assert.deepEqual([kernel.last("ask").text, kernel.last("ask").files], ["hello", []]);
  assert.equal(chat.composer.input.value, "");
});

test("an answer streams in blocks, and can be stopped", () => {
  show();
  kernel.emit("turn", { turn: turn(1, { running: true, blocks: [] }), replaces: 0, state: "working" });
  assert.ok(chat.composer.sendButton.hidden);
  kernel.emit("blocks", { turn: 1, begin: 0, blocks: ["<p>one</p>", "<p>tw</p>"] });
  const first = turns()[0].children[2].children[0];
  kernel.emit("blocks", { turn: 1, begin: 1, blocks: ["<p>two</p>"] });
  assert.equal(turns()[0].children[2].textContent, "onetwo");
  assert.ok(turns()[0].children[2].children[0] === first);
  press(chat.composer.input, "Escape");
  assert.equal(kernel.last("stop").type, "stop");
  kernel.emit("turn", { turn: turn(1), replaces: 0, state: "stopped", sessions: ["s", "t"] });
  assert.equal(turns()[0].getAttribute("aria-busy"), "false");
  assert.equal(chat.status.textContent, "stopped");
  assert.deepEqual(
    [...chat.settings.sessions.options].map((one) => one.value),
    ["s", "t", ""],
  );
});

test("what the reader has unfolded stays unfolded", () => {
  show();
  kernel.emit("turn", { turn: turn(1, { running: true, blocks: [] }), replaces: 0, state: "working" });
  kernel.emit("blocks", { turn: 1, begin: 0, blocks: ['<details data-fold="r"><p>1</p></details>'] });
  turns()[0].querySelector("details").open = true;
  kernel.emit("blocks", { turn: 1, begin: 0, blocks: ['<details data-fold="r"><p>1 2</p></details>'] });
  assert.ok(turns()[0].querySelector("details").open);
});

test("an edited prompt replaces its turn and all that follow", () => {
  show({ turns: [turn(1), turn(2)] });
  tool(turns()[0], 1).click();
  const area = turns()[0].querySelector("textarea");
  area.value = "better";
  press(area, "Enter");
  assert.deepEqual([kernel.last("ask").text, kernel.last("ask").at], ["better", 1]);
  kernel.emit("turn", { turn: turn(3, { running: true, blocks: [] }), replaces: 1, state: "working" });
  assert.deepEqual(
    turns().map((one) => one.dataset.turn),
    ["3"],
  );
  tool(turns()[0], 2).click();
  assert.equal(kernel.all("ask").length, 1, "nothing is asked while an answer is coming");
});

test("escape leaves a prompt as it was", () => {
  show({ turns: [turn(1)] });
  tool(turns()[0], 1).click();
  press(turns()[0].querySelector("textarea"), "Escape");
  assert.equal(turns()[0].querySelector("textarea"), null);
  assert.equal(turns()[0].children[0].textContent, "q1");
});

test("files are attached, uploaded and named with the prompt", async () => {
  show();
  URL.createObjectURL = () => "blob:1";
  chat.composer.attach([
    new File(["abc"], "a.png", { type: "image/png" }),
    new File(["x"], "a.txt", { type: "text/plain" }),
  ]);
  assert.equal(chat.composer.chips.children.length, 1);
  assert.equal(chat.status.textContent, "a.txt is not an image");
  await wait(5);
  const { file, kind, of } = kernel.last("piece");
  assert.deepEqual([kind, of], ["image", 1]);
  press(chat.composer.input, "Enter");
  assert.deepEqual(kernel.last("ask").files, [file]);
});

test("files that come before the kernel's first message are attached when it is there", () => {
  URL.createObjectURL = () => "blob:1";
  chat.composer.attach([new File(["abc"], "a.png", { type: "image/png" })]);
  assert.equal(chat.status.textContent, "");
  assert.equal(chat.composer.chips.children.length, 0);
  show();
  show();
  assert.equal(chat.composer.chips.children.length, 1);
});

test("a refused prompt comes back, and its file goes", async () => {
  show();
  URL.createObjectURL = () => "blob:1";
  chat.composer.attach([new File(["abc"], "a.png", { type: "image/png" })]);
  await wait(5);
  const { id, file } = kernel.last("piece");
  kernel.emit("refused", { text: "not an image", file, prompt: "hello" }, id);
  assert.equal(chat.composer.chips.children.length, 0);
  assert.equal(chat.composer.input.value, "hello");
  assert.equal(chat.status.textContent, "not an image");
});

test("a kernel that is busy is reported until it replies", async () => {
  show();
  chat.channel.ask("stop");
  await wait(750);
  assert.equal(chat.status.textContent, "busy");
  kernel.emit("received", {}, kernel.last("stop").id);
  assert.equal(chat.status.textContent, "");
});

test("settings are sent together", () => {
  show();
  chat.settings.toggle.click();
  assert.equal(chat.settings.toggle.getAttribute("aria-expanded"), "true");
  chat.settings.system.value = "be brief";
  chat.settings.system.onchange();
  const { system, temperature, max_tokens, more } = kernel.last("settings");
  assert.deepEqual([system, temperature, max_tokens, more], ["be brief", "", "", ""]);
});

test("without its kernel the conversation stays, and what was being typed", () => {
  show({ turns: [turn(1)] });
  chat.composer.input.value = "half a thought";
  chat.freeze();
  assert.equal(chat.root.querySelectorAll("button").length, 0);
  assert.equal(chat.status.textContent, "gone\n\nhalf a thought");
  assert.equal(turns().length, 1);
  assert.equal(kernel.listeners.size, 0);
});
