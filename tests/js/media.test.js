import assert from "node:assert/strict";
import { test } from "node:test";
import { openPage, press } from "./page.js";

const window = openPage();
await import("../../byzer_magic/widgets/static/media.js");

const click = (selector) => document.querySelector(selector).click();

function audio(duration = 60) {
  const made = document.querySelector("audio");
  const played = { at: 0, play: 0 };
  Object.defineProperties(made, {
    readyState: { value: 1 },
    duration: { value: duration },
    paused: { value: true },
    currentTime: {
      get: () => played.at,
      set: (at) => {
        played.at = at;
      },
    },
    play: {
      value: async () => {
        played.play += 1;
      },
    },
  });
  return { made, played };
}

test("a time of a transcript seeks its audio and is marked while it plays", () => {
  document.body.innerHTML = `<div class="bz-media"><div class="bz-transcript"><figure class="bz-audio"><audio></audio>
    <div class="bz-wave"><i></i></div></figure><ol><li><button data-bz-seek="0">a</button></li>
    <li><button data-bz-seek="30">b</button></li></ol></div></div>`;
  const { made, played } = audio();
  click('[data-bz-seek="30"]');
  assert.deepEqual(played, { at: 30, play: 1 });
  made.dispatchEvent(new window.Event("timeupdate"));
  assert.deepEqual(
    [...document.querySelectorAll("li")].map((line) => line.hasAttribute("aria-current")),
    [false, true],
  );
  assert.equal(document.querySelector(".bz-wave i").style.left, "50%");
});

test("audio of unknown length is asked for its end and rewound", () => {
  document.body.innerHTML = '<div class="bz-media"><figure class="bz-audio"><audio></audio></figure></div>';
  const { made, played } = audio(Number.POSITIVE_INFINITY);
  made.dispatchEvent(new window.Event("loadedmetadata"));
  assert.equal(played.at, 1e7);
  made.dispatchEvent(new window.Event("timeupdate"));
  assert.equal(played.at, 0);
});

test("images are enlarged, walked with the arrows and closed with escape", () => {
  document.body.innerHTML = `<div class="bz-media bz-images" data-previous="Previous" data-next="Next" data-close="Close">
    <button class="bz-enlarge"><img src="a.png" alt="one"></button><button class="bz-enlarge"><img src="b.png" alt="two"></button></div>`;
  click(".bz-enlarge");
  const box = document.querySelector(".bz-lightbox");
  assert.equal(box.getAttribute("aria-label"), "one");
  assert.deepEqual(
    [...box.querySelectorAll("button")].map((one) => one.getAttribute("aria-label")),
    ["Previous", "Next", "Close"],
  );
  press(box, "ArrowRight");
  assert.equal(box.querySelector("img").alt, "two");
  press(box, "ArrowRight");
  assert.equal(box.querySelector("img").alt, "one");
  press(box, "Escape");
  assert.equal(document.querySelector(".bz-lightbox"), null);
  assert.ok(document.activeElement === document.querySelector(".bz-enlarge"));
});
