// Audio, transcripts and images in outputs. It has one listener of a kind for the page: outputs come, go and are
// rendered again. It is stored with each output, for saved notebooks, so it is small and imports nothing.
(() => {
  document.documentElement.classList.add("bz-live");
  const page = /** @type {Window & {bzMedia?: boolean}} */ (window);
  if (page.bzMedia) return;
  page.bzMedia = true;

  const ACTS = [".bz-wave", ".bz-download", ".bz-enlarge", "[data-bz-seek]"].map((name) => `.bz-media ${name}`).join();
  const URL_LIVES_MS = 60000;
  const FAR_SECONDS = 1e7;

  /**
   * @param {HTMLAudioElement} audio
   * @param {number} seconds
   */
  function seek(audio, seconds) {
    const go = () => {
      audio.currentTime = seconds;
      audio.play().catch(() => {}); // a browser may refuse to play before the page was touched
    };
    if (audio.readyState >= 1) go();
    else {
      audio.addEventListener("loadedmetadata", go, { once: true });
      audio.load();
    }
  }

  /**
   * @param {string} source
   * @param {string | undefined} name
   */
  function download(source, name = "") {
    const link = document.createElement("a");
    let url = "";
    if (source.startsWith("data:")) {
      const [head, body] = source.split(",", 2);
      const bytes = Uint8Array.from(atob(body), (letter) => letter.charCodeAt(0));
      url = URL.createObjectURL(new Blob([bytes], { type: head.slice(5).split(";")[0] }));
    }
    link.href = url || source;
    link.download = name;
    link.click();
    if (url) setTimeout(() => URL.revokeObjectURL(url), URL_LIVES_MS);
  }

  /**
   * Show an image, and those beside it, as large as the window.
   * @param {HTMLElement} opener
   */
  function enlarge(opener) {
    const gallery = /** @type {HTMLElement} */ (opener.closest(".bz-images"));
    const all = [...gallery.querySelectorAll(".bz-enlarge")];
    const words = gallery.dataset;
    let at = all.indexOf(opener);
    const box = document.createElement("dialog");
    box.className = "bz-lightbox";
    const image = box.appendChild(document.createElement("img"));
    const bar = box.appendChild(document.createElement("div"));
    bar.className = "bz-bar";
    const caption = bar.appendChild(document.createElement("span"));
    /**
     * @param {string | undefined} label
     * @param {string | undefined} text
     * @param {() => void} click
     */
    const button = (label = "", text = "", click) => {
      const made = bar.appendChild(document.createElement("button"));
      made.type = "button";
      made.textContent = text;
      made.setAttribute("aria-label", label);
      made.onclick = click;
      return made;
    };
    const show = (/** @type {number} */ step) => {
      at = (at + step + all.length) % all.length;
      const shown = /** @type {HTMLImageElement} */ (all[at].querySelector("img"));
      image.src = shown.src;
      image.alt = shown.alt;
      caption.textContent = shown.alt;
      box.setAttribute("aria-label", shown.alt);
    };
    if (all.length > 1) {
      button(words.previous, "‹", () => show(-1));
      button(words.next, "›", () => show(1));
    }
    const close = button(words.close, words.close, () => box.close());
    box.addEventListener("keydown", (event) => {
      event.stopPropagation(); // the notebook has shortcuts on these keys
      if (event.key === "Escape") box.close();
      if (all.length > 1 && event.key === "ArrowLeft") show(-1);
      if (all.length > 1 && event.key === "ArrowRight") show(1);
    });
    box.addEventListener("click", (event) => event.target === box && box.close());
    box.addEventListener("close", () => {
      box.remove();
      opener.focus();
    });
    show(0);
    document.body.append(box); // not in the cell: cells clip what is in them
    box.showModal();
    close.focus();
  }

  document.addEventListener("click", (event) => {
    const node = event.target instanceof Element ? event.target : null;
    const target = /** @type {HTMLElement | null | undefined} */ (node?.closest(ACTS));
    if (!target) return;
    const audio = target.closest(".bz-transcript, .bz-audio")?.querySelector("audio");
    if (target.matches(".bz-download")) {
      const source = target.closest("figure")?.querySelector("audio, img")?.getAttribute("src");
      if (source) download(source, target.dataset.bzName);
    } else if (target.matches(".bz-enlarge")) enlarge(target);
    else if (audio && target.matches(".bz-wave")) {
      const box = target.getBoundingClientRect();
      seek(audio, ((event.clientX - box.left) / box.width) * Number(target.dataset.seconds));
    } else if (audio) seek(audio, Number(target.dataset.bzSeek));
  });

  // Media events do not bubble, but they can be captured.
  document.addEventListener(
    "loadedmetadata",
    (event) => {
      const audio = event.target;
      if (!(audio instanceof HTMLAudioElement) || !audio.closest(".bz-media")) return;
      if (audio.duration !== Number.POSITIVE_INFINITY || !audio.paused) return;
      // A browser does not know the length of what it has recorded before it was asked for the end.
      const rewind = () => {
        audio.currentTime = 0;
      };
      audio.addEventListener("timeupdate", rewind, { once: true });
      audio.currentTime = FAR_SECONDS;
    },
    true,
  );

  document.addEventListener(
    "timeupdate",
    (event) => {
      const audio = event.target;
      if (!(audio instanceof HTMLAudioElement)) return;
      const figure = audio.closest(".bz-media .bz-audio");
      const head = /** @type {HTMLElement | null | undefined} */ (figure?.querySelector(".bz-wave i"));
      if (head && audio.duration) head.style.left = `${(100 * audio.currentTime) / audio.duration}%`;
      const transcript = figure?.closest(".bz-transcript");
      const lines = /** @type {HTMLElement[]} */ ([...(transcript?.querySelectorAll("[data-bz-seek]") ?? [])]);
      const now = lines.filter((line) => Number(line.dataset.bzSeek) <= audio.currentTime + 0.05).at(-1);
      for (const line of lines) line.closest("li")?.toggleAttribute("aria-current", line === now);
    },
    true,
  );
})();
