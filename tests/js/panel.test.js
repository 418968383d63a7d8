import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { groupsOf } from "../../byzer_magic/widgets/static/panel/rows.js";
import { Panel } from "../../byzer_magic/widgets/static/panel/screen.js";
import { Kernel, openPage, press, type, wait, words } from "./page.js";

// As `controls.frame` in Python makes it.
const FRAME = `
  <span class="bz-summary"></span><input class="bz-filter" hidden><button data-do="new">New</button>
  <p class="bz-alarm" role="status" hidden></p>
  <div class="bz-scroll" hidden><table><thead><tr><th></th><th></th></tr></thead><tbody></tbody></table></div>
  <template data-tray="status"><form><span class="bz-status"></span><button type="button" data-do="cancel"></button></form></template>
  <template data-tray="line"><form><span></span><code></code><button type="button" data-do="cancel"></button></form></template>
  <template data-tray="drain"><form><span>Drain {alias}?</span><button class="bz-primary">Drain</button>
    <button type="button" data-do="cancel"></button><span class="bz-status"></span></form></template>
  <template data-tray="scale"><form><input type="number" name="value"><button>Scale</button>
    <button type="button" data-do="cancel"></button><span class="bz-status"></span></form></template>
  <template data-tray="more"><form><button type="button" data-do="sleep"></button><button type="button" data-do="wake"></button>
    </form></template>
  <template data-tray="logs"><form><button>Refresh</button><span class="bz-status"></span></form><pre class="bz-log"></pre></template>`;

function row(alias, state = "ready") {
  const acts = ["toggle", "chat", "scale", "drain", "restart", "logs", "more"];
  const buttons = acts.map(
    (name) => `<button class="bz-${name === "toggle" ? "twist" : name}" data-do="${name}"></button>`,
  );
  return `<tr class="bz-model" data-key="${alias}" data-group="${alias}"><th data-cell="model">${alias}</th>
    <td data-cell="state" data-workers="3">${state}</td><td>${buttons.join("")}</td></tr>`;
}

const worker = (alias, index) =>
  `<tr class="bz-worker" data-key="${alias}/${index}" data-group="${alias}"><th></th><td><button data-do="restart"></button></td></tr>`;

let kernel;
let panel;

beforeEach(() => {
  openPage();
  kernel = new Kernel({ words: words({ silent: "silent for {age}" }), frame: FRAME });
  panel = new Panel(kernel);
});
afterEach(() => panel.end());

const show = (order, rows, more = {}) => kernel.emit("update", { order, rows, summary: `${order.length}`, ...more });
const keys = () => panel.rows.all.map((one) => one.dataset.key ?? `tray ${one.dataset.tray}`);
const act = (key, name) => panel.rows.row(key).querySelector(`[data-do="${name}"]`);

test("groups are the aliases of rows", () => {
  assert.deepEqual([...groupsOf(["a", "a/~", "a/0", "b"])], ["a", "b"]);
});

test("panel reports that it is ready and, once it is placed, visible", async () => {
  assert.equal(kernel.all("ready").length, 1);
  await wait(5);
  assert.equal(kernel.last("visible").visible, true);
});

test("rows are put into order, and those that exist stay the same", () => {
  show(["a", "b"], { a: row("a"), b: row("b") });
  const first = panel.rows.row("a");
  show(["c", "b", "a"], { c: row("c") });
  assert.deepEqual(keys(), ["c", "b", "a"]);
  assert.ok(panel.rows.row("a") === first);
  show(["b"], {});
  assert.deepEqual(keys(), ["b"]);
  show([], {});
  assert.ok(panel.root.querySelector(".bz-scroll").hidden);
});

test("cells change in place", () => {
  show(["a"], { a: row("a") });
  const before = panel.rows.row("a");
  kernel.emit("update", { cells: { a: { state: "busy" }, unknown: { state: "x" } }, error: "Ray does not respond" });
  assert.ok(panel.rows.row("a") === before);
  assert.equal(before.querySelector('[data-cell="state"]').textContent, "busy");
  assert.equal(panel.root.querySelector(".bz-alarm").textContent, "Ray does not respond");
  kernel.emit("update", { error: "" });
  assert.ok(panel.root.querySelector(".bz-alarm").hidden);
});

test("workers follow their deployment, and toggling asks for them", () => {
  show(["a"], { a: row("a") });
  act("a", "toggle").click();
  assert.deepEqual([kernel.last("open").model, kernel.last("open").open], ["a", true]);
  show(["a", "a/~", "a/0"], { "a/~": worker("a", "~"), "a/0": worker("a", 0) });
  assert.equal(act("a", "toggle").getAttribute("aria-expanded"), "true");
  act("a/0", "restart").click();
  assert.deepEqual([kernel.last("restart").model, kernel.last("restart").worker], ["a", 0]);
});

test("trays stay behind their row when rows move, and go with it", () => {
  show(["a", "b"], { a: row("a"), b: row("b") });
  act("a", "drain").click();
  assert.equal(panel.rows.all[1].querySelector("span").textContent, "Drain a?");
  show(["b", "a"], {});
  assert.deepEqual(keys(), ["b", "a", "tray drain"]);
  show(["b"], {});
  assert.deepEqual(keys(), ["b"]);
  assert.equal(panel.trays.open.size, 0);
});

test("the same button closes its tray, another one replaces it", () => {
  show(["a"], { a: row("a") });
  act("a", "drain").click();
  act("a", "scale").click();
  assert.deepEqual(keys(), ["a", "tray scale"]);
  act("a", "scale").click();
  assert.deepEqual(keys(), ["a"]);
});

test("escape closes a tray and gives the focus back", () => {
  show(["a"], { a: row("a") });
  act("a", "drain").click();
  press(document.activeElement, "Escape");
  assert.deepEqual(keys(), ["a"]);
  assert.ok(document.activeElement === act("a", "drain"));
});

test("scaling begins with the workers that there are, and shows replies in its tray", async () => {
  show(["a"], { a: row("a") });
  act("a", "scale").click();
  const input = panel.root.querySelector(".bz-tray input");
  assert.equal(input.value, "3");
  type(input, "4");
  input.form.requestSubmit();
  const { id, model, value } = kernel.last("scale");
  assert.deepEqual([model, value], ["a", 4]);
  const line = panel.root.querySelector(".bz-tray .bz-status");
  kernel.emit("reply", { state: "going", text: "loading" }, id);
  assert.equal(line.textContent, "loading");
  assert.equal(panel.waiting.size, 1);
  kernel.emit("reply", { state: "failed", text: "no such model" }, id);
  assert.ok(line.classList.contains("bz-bad"));
  assert.equal(panel.waiting.size, 0);
});

test("a model that is loaded here can sleep, one that sleeps can be woken, an API neither", () => {
  const cell = { awake: "<b data-local></b>", asleep: '<b data-local></b><i class="bz-sign bz-asleep"></i>', api: "" };
  for (const [how, offered] of Object.entries({ awake: ["sleep"], asleep: ["wake"], api: [] })) {
    show([how], { [how]: row(how, cell[how]) });
    act(how, "more").click();
    const buttons = [...panel.root.querySelectorAll(".bz-tray button")].filter((button) => !button.hidden);
    assert.deepEqual(
      buttons.map((button) => button.dataset.do),
      offered,
    );
    for (const button of buttons) {
      button.click();
      assert.equal(kernel.last(offered[0]).model, how);
    }
  }
});

test("a click that waits for a busy kernel shows it", async () => {
  show(["a"], { a: row("a") });
  act("a", "restart").click();
  await wait(650);
  assert.equal(panel.root.querySelector(".bz-tray .bz-status").textContent, "queued");
});

test("logs are asked for at once", () => {
  show(["a"], { a: row("a") });
  act("a", "logs").click();
  kernel.emit("reply", { state: "done", text: "", log: "one\ntwo" }, kernel.last("logs").id);
  assert.equal(panel.root.querySelector(".bz-log").textContent, "one\ntwo");
});

test("filter hides other deployments with their workers", () => {
  show(
    ["alpha", "alpha/0", "beta"],
    { alpha: row("alpha"), "alpha/0": worker("alpha", 0), beta: row("beta") },
    { many: true },
  );
  const filter = panel.root.querySelector(".bz-filter");
  assert.ok(!filter.hidden);
  type(filter, "BET");
  assert.deepEqual(
    panel.rows.all.map((one) => one.hidden),
    [true, true, false],
  );
});

test("a command is shown where cells cannot be inserted", () => {
  show(["a"], { a: row("a") });
  act("a", "chat").click();
  assert.equal(panel.root.querySelector(".bz-tray code").textContent, "%byzer chat a");
});

test("panel reports a kernel that is silent", () => {
  panel.visible = true;
  panel.lastMessageAt = performance.now() - 9000;
  panel.tick();
  assert.match(panel.root.querySelector(".bz-alarm").textContent, /^silent for \d+ s$/);
  kernel.emit("update", {});
  panel.tick();
  assert.ok(panel.root.querySelector(".bz-alarm").hidden);
});

test("panel ends when the kernel sends end, and ignores later messages", () => {
  kernel.emit("end");
  assert.ok(panel.ended);
  assert.equal(kernel.listeners.size, 0);
  assert.ok(!panel.root.isConnected);
});
