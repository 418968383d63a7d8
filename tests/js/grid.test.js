import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { runInThisContext } from "node:vm";
import { openPage } from "./page.js";

const window = openPage();
const SCRIPT = readFileSync(new URL("../../byzer_magic/widgets/static/grid.js", import.meta.url), "utf8");

/** Render a grid, as an update of its output does. */
function render(key, rows) {
  const cells = rows.map(
    (row, place) =>
      `<tr data-sort='${JSON.stringify(row)}'><th>${row[0]}</th><td><details data-cell="${place}-0">
      <summary>${row[0]}</summary>all</details></td></tr>`,
  );
  document.body.innerHTML = `<div class="bz-grid" data-key="${key}" data-words='{"sort":"Sort by","order":"as asked",
    "reverse":"Reverse"}' data-sorts='["country","a: time"]'><p>note</p><table><tbody>${cells.join("")}</tbody></table>
    <script type="text/plain"></script></div>`;
  const script = document.querySelector(".bz-grid script");
  Object.defineProperty(document, "currentScript", { value: script, configurable: true });
  runInThisContext(SCRIPT);
}

const order = () => [...document.querySelectorAll("tbody th")].map((head) => head.textContent);
const ROWS = [
  ["Peru", 0.5],
  ["Chad", null],
  ["Fiji", 10],
  ["Oman", 9],
];

function choose(value) {
  const select = document.querySelector("select");
  select.value = value;
  select.dispatchEvent(new window.Event("change"));
}

test("rows are sorted by a variable and by a number, what is not known last", () => {
  render("one", ROWS);
  assert.deepEqual(order(), ["Peru", "Chad", "Fiji", "Oman"]);
  choose("0");
  assert.deepEqual(order(), ["Chad", "Fiji", "Oman", "Peru"]);
  choose("1");
  assert.deepEqual(order(), ["Peru", "Oman", "Fiji", "Chad"]);
  document.querySelector("button").click();
  assert.deepEqual(order(), ["Fiji", "Oman", "Peru", "Chad"]);
  choose("-1");
  assert.deepEqual(order(), ["Oman", "Fiji", "Chad", "Peru"]);
});

test("an update keeps the order and what is open; another grid has its own", () => {
  render("two", ROWS);
  choose("0");
  document.querySelector('[data-cell="2-0"] summary').click();
  render("two", ROWS);
  assert.deepEqual(order(), ["Chad", "Fiji", "Oman", "Peru"]);
  const open = () =>
    [...document.querySelectorAll("details")].filter((fold) => fold.open).map((fold) => fold.dataset.cell);
  assert.deepEqual(open(), ["2-0"]);
  render("three", ROWS);
  assert.deepEqual([order()[0], open()], ["Peru", []]);
});

test("one row is not to be sorted", () => {
  render("four", ROWS.slice(1, 2));
  assert.equal(document.querySelector("select"), null);
});
