// One listener per kind for the whole page: outputs come, go and are repainted, and these stay right.
(() => {
  document.documentElement.classList.add("bz-live");
  if (window.bzMedia) return;
  window.bzMedia = true;

  const playerOf = (node) => node.closest(".bz-transcript, .bz-sound")?.querySelector("audio");

  function seek(audio, seconds) {
    const go = () => {
      audio.currentTime = seconds;
      audio.play().catch(() => {});  // a browser may refuse to play before the page was touched
    };
    if (audio.readyState >= 1) go();
    else {
      audio.addEventListener("loadedmetadata", go, { once: true });
      audio.load();
    }
  }

  function download(source, name) {
    const link = document.createElement("a");
    let made = "";
    if (source.startsWith("data:")) {
      const [head, body] = source.split(",", 2);
      const bytes = Uint8Array.from(atob(body), (letter) => letter.charCodeAt(0));
      made = URL.createObjectURL(new Blob([bytes], { type: head.slice(5).split(";")[0] }));
    }
    link.href = made || source;
    link.download = name;
    link.click();
    if (made) setTimeout(() => URL.revokeObjectURL(made), 60000);
  }

  function enlarge(button) {
    const all = [...button.closest(".bz-pictures").querySelectorAll(".bz-enlarge")];
    let at = all.indexOf(button);
    const words = button.closest(".bz-pictures").dataset;
    const box = document.createElement("dialog");
    box.className = "bz-lightbox";
    const image = box.appendChild(document.createElement("img"));
    const bar = box.appendChild(document.createElement("div"));
    bar.className = "bz-bar";
    const caption = bar.appendChild(document.createElement("span"));
    const act = (label, sign, what) => {
      const made = bar.appendChild(document.createElement("button"));
      made.type = "button";
      made.textContent = sign;
      made.setAttribute("aria-label", label);
      made.onclick = what;
      return made;
    };
    const show = (step) => {
      at = (at + step + all.length) % all.length;
      const shown = all[at].querySelector("img");
      image.src = shown.src;
      image.alt = shown.alt;
      caption.textContent = shown.alt;
      box.setAttribute("aria-label", shown.alt);
    };
    if (all.length > 1) {
      act(words.previous, "‹", () => show(-1));
      act(words.next, "›", () => show(1));
    }
    const close = act(words.close, words.close, () => box.close());
    box.addEventListener("keydown", (event) => {
      // The notebook must not see these keys: it has its own plans for them.
      event.stopPropagation();
      if (event.key === "Escape") box.close();
      if (all.length > 1 && event.key === "ArrowLeft") show(-1);
      if (all.length > 1 && event.key === "ArrowRight") show(1);
    });
    box.addEventListener("click", (event) => event.target === box && box.close());
    box.addEventListener("close", () => {
      box.remove();
      button.focus();
    });
    show(0);
    document.body.append(box);  // outside the notebook, whose cells clip and whose keys would answer
    box.showModal();
    close.focus();
  }

  document.addEventListener("click", (event) => {
    const node = event.target instanceof Element ? event.target : null;
    const target = node?.closest(".bz-media [data-bz-seek], .bz-media .bz-wave, .bz-media .bz-download, .bz-media .bz-enlarge");
    if (!target) return;
    const audio = playerOf(target);
    if (target.matches(".bz-download")) {
      const medium = target.closest("figure").querySelector("audio, img");
      download(medium.getAttribute("src"), target.dataset.bzName);
    } else if (target.matches(".bz-enlarge")) enlarge(target);
    else if (audio && target.matches(".bz-wave")) {
      const box = target.getBoundingClientRect();
      seek(audio, ((event.clientX - box.left) / box.width) * Number(target.dataset.seconds));
    } else if (audio) seek(audio, Number(target.dataset.bzSeek));
  });

  // What browsers record does not say how long it is; who looks for its end finds that out.
  document.addEventListener("loadedmetadata", (event) => {
    const audio = event.target;
    if (!audio.closest?.(".bz-media") || audio.duration !== Infinity || !audio.paused) return;
    audio.addEventListener("timeupdate", () => { audio.currentTime = 0; }, { once: true });
    audio.currentTime = 1e7;
  }, true);

  // Media events do not bubble, but they can be caught on their way down.
  document.addEventListener("timeupdate", (event) => {
    const audio = event.target;
    const sound = audio.closest?.(".bz-media .bz-sound");
    const head = sound?.querySelector(".bz-wave i");
    if (head && audio.duration) head.style.left = `${(100 * audio.currentTime) / audio.duration}%`;
    const lines = [...(sound?.closest(".bz-transcript")?.querySelectorAll("[data-bz-seek]") ?? [])];
    const now = lines.filter((line) => Number(line.dataset.bzSeek) <= audio.currentTime + 0.05).at(-1);
    for (const line of lines) line.closest("li").toggleAttribute("aria-current", line === now);
  }, true);
})();
