import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { Mount } from "../../byzer_magic/widgets/static/mount.js";
import { Kernel, openPage, press, wait } from "./page.js";

let kernel;
let mount;
let events;

function open(more = {}) {
  mount?.end();
  openPage();
  kernel = Object.assign(new Kernel({}), more);
  events = [];
  const note = (name) => () => events.push(name);
  const root = document.createElement("div");
  mount = new Mount(kernel, root, {
    gone: note("gone"),
    dead: note("dead"),
    closed: note("closed"),
    placed: note("placed"),
  });
}

beforeEach(() => open());
afterEach(() => mount.end());

test("mount places its root with the next frame, and again when the cell is rendered again", async () => {
  await wait(5);
  assert.ok(mount.root.isConnected);
  document.body.innerHTML = '<div class="jp-OutputArea"><div data-bz-mount="m1"></div></div>';
  mount.look();
  assert.ok(mount.root.isConnected);
  assert.equal(document.querySelector(".jp-OutputArea").dataset.bzLive, "m1");
  assert.deepEqual(events, ["placed", "placed"]);
});

test("mount reports a deleted cell, but not one that is cut and pasted", async () => {
  await wait(5);
  document.body.innerHTML = "";
  mount.look();
  assert.ok(!events.includes("gone"));
  mount.lostAt = performance.now() - 5000;
  mount.look();
  assert.ok(events.includes("gone"));
});

test("mount keeps shortcuts from the notebook, but for the one that saves", async () => {
  let saved = 0;
  let bubbled = 0;
  open({ widget_manager: { context: { save: () => saved++ } } });
  await wait(5);
  document.body.addEventListener("keydown", () => bubbled++);
  press(mount.root, "d");
  press(mount.root, "s", { ctrlKey: true });
  assert.deepEqual([saved, bubbled], [1, 0]);
});

test("mount inserts cells below its own where the front end lets it", () => {
  assert.equal(mount.insert(["%byzer stat"]), false);
  const cells = [
    { cell_type: "code", outputs: [] },
    { cell_type: "code", outputs: ["m1"] },
  ];
  const inserted = [];
  const sharedModel = { cells, insertCells: (at, made) => inserted.push(at, ...made.map((cell) => cell.source)) };
  open({ widget_manager: { context: { model: { sharedModel } } } });
  assert.equal(mount.insert(["%byzer stat"]), true);
  assert.deepEqual(inserted, [2, "%byzer stat"]);
});
