// The recorder: it records in the page and sends the audio to the kernel, in chunks.
import { announce, button, Channel, clock, fill, make } from "./kit.js";
import { Mount } from "./mount.js";

const TYPES = ["audio/webm;codecs=opus", "audio/webm", "audio/ogg;codecs=opus", "audio/mp4"];
const FILES = "audio/*,video/webm,.m4a,.mp3,.wav,.ogg,.opus,.flac,.aac,.webm";
const LEVEL_MS = 100;
const CHUNK_MS = 1000;
const FAR_SECONDS = 1e7;

/** @typedef {"ready" | "recording" | "recorded" | "sending"} State */

/**
 * Return the names of the parts that a state shows; `canRecord`: the browser has a microphone and lets pages use it.
 * @param {State} state
 * @param {boolean} canRecord
 */
export function partsOf(state, canRecord) {
  return {
    ready: canRecord ? ["record", "choose"] : ["choose"],
    recording: ["stop", "meter"],
    recorded: canRecord ? ["record", "choose", "preview", "send", "discard"] : ["choose", "preview", "send", "discard"],
    sending: ["cancel"],
  }[state];
}

/**
 * Return how loud samples between -1 and 1 are, for a meter from 0 to 1.
 * @param {Float32Array} samples
 */
export function level(samples) {
  const power = samples.reduce((sum, value) => sum + value * value, 0) / samples.length;
  return Math.min(1, 3 * Math.sqrt(power));
}

/**
 * A browser does not know the length of what it has recorded before it was asked for the end.
 * @param {HTMLAudioElement} audio
 */
function findDuration(audio) {
  if (audio.duration !== Number.POSITIVE_INFINITY) return;
  const rewind = () => {
    audio.currentTime = 0;
  };
  audio.addEventListener("timeupdate", rewind, { once: true });
  audio.currentTime = FAR_SECONDS;
}

export class Recorder {
  /** @param {import("./kit.js").Model} model */
  constructor(model) {
    /** @type {import("./kit.js").Words} */
    const words = model.get("state").words;
    this.words = words;
    this.canRecord = "mediaDevices" in navigator && "MediaRecorder" in window;
    /** @type {{blob: Blob, name: string} | undefined} */
    this.audio = undefined;
    /** @type {MediaStream | undefined} */
    this.stream = undefined;
    /** @type {MediaRecorder | undefined} */
    this.recorder = undefined;
    /** @type {AudioContext | undefined} */
    this.context = undefined;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.levelTimer = undefined;
    this.url = "";
    const act = (/** @type {string} */ name, /** @type {() => void} */ click) =>
      button(words[name], click, `bz-${name}`);
    this.preview = make("audio", { controls: true, "aria-label": words.recorded });
    this.preview.onloadedmetadata = () => findDuration(this.preview);
    this.picker = make("input", { type: "file", accept: FILES });
    this.picker.onchange = () => {
      const file = this.picker.files?.[0];
      if (file) this.take(file, file.name);
    };
    /** @type {Record<string, HTMLElement>} */
    this.parts = {
      record: act("record", () => this.record()),
      stop: act("stop", () => this.recorder?.stop()),
      meter: make("meter", { min: 0, max: 1, value: 0, "aria-label": words.level }),
      preview: this.preview,
      send: act("send", () => this.send()),
      discard: act("discard", () => this.discard()),
      cancel: act("cancel", () => this.channel.send("cancel")),
      choose: make("label", {}, `${words.choose} `, this.picker),
    };
    this.status = make("p", { role: "status" });
    const attributes = { className: "bz-recorder", role: "group", "aria-label": words.title };
    this.root = make("div", attributes, ...Object.values(this.parts), this.status);
    this.channel = new Channel(model, {
      failed: ({ text }) => this.show(this.audio ? "recorded" : "ready", text),
      end: () => this.end(),
    });
    this.show("ready", this.canRecord ? this.words.ready : this.words.cannot);
    const end = () => this.end();
    this.mount = new Mount(model, this.root, { gone: () => this.close(), dead: end, closed: end });
  }

  /**
   * @param {State} state
   * @param {string} text
   */
  show(state, text) {
    const shown = partsOf(state, this.canRecord);
    for (const [name, part] of Object.entries(this.parts)) part.hidden = !shown.includes(name);
    this.parts.record.textContent = state === "recorded" ? this.words.again : this.words.record;
    announce(this.status, text);
  }

  // ---- recording

  async record() {
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    } catch (error) {
      this.show("ready", fill(this.words.denied, { why: /** @type {Error} */ (error).name }));
      return;
    }
    const type = TYPES.find((one) => MediaRecorder.isTypeSupported(one));
    const recorder = new MediaRecorder(this.stream, type ? { mimeType: type } : {});
    /** @type {Blob[]} */
    const chunks = [];
    recorder.ondataavailable = (event) => chunks.push(event.data);
    recorder.onstop = () => {
      this.release();
      this.take(new Blob(chunks, { type: recorder.mimeType || type }), "");
    };
    recorder.start(CHUNK_MS);
    this.recorder = recorder;
    this.show("recording", `${this.words.recording} 0:00`);
    this.showLevel(this.stream);
    this.parts.stop.focus();
  }

  /**
   * Show how loud it is, and for how long it has been recording.
   * @param {MediaStream} stream
   */
  showLevel(stream) {
    this.context = new AudioContext();
    const analyser = this.context.createAnalyser();
    this.context.createMediaStreamSource(stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    const started = Date.now();
    this.levelTimer = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      /** @type {HTMLMeterElement} */ (this.parts.meter).value = level(samples);
      announce(this.status, `${this.words.recording} ${clock((Date.now() - started) / 1000)}`);
    }, LEVEL_MS);
  }

  /** Give the microphone back. */
  release() {
    clearInterval(this.levelTimer);
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.context?.close().catch(() => {});
    this.stream = this.recorder = this.context = undefined;
  }

  // ---- what was recorded or chosen

  /**
   * @param {Blob} blob
   * @param {string} name
   */
  take(blob, name) {
    if (!blob.size) {
      this.show("ready", this.words.empty);
      return;
    }
    this.audio = { blob, name };
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = this.preview.src = URL.createObjectURL(blob);
    this.show("recorded", this.words.recorded);
    this.parts.send.focus();
  }

  discard() {
    this.audio = undefined;
    this.show("ready", this.words.ready);
    this.parts.record.focus();
  }

  async send() {
    if (!this.audio) return;
    const { blob, name } = this.audio;
    this.show("sending", this.words.sending);
    await this.channel.upload(blob, { name });
  }

  // ---- the end

  close() {
    this.channel.send("close");
    this.end();
  }

  end() {
    this.channel.close();
    this.release();
    if (this.url) URL.revokeObjectURL(this.url);
    this.mount.end();
  }
}

export default {
  /** @param {{model: import("./kit.js").Model}} context */
  initialize({ model }) {
    const recorder = new Recorder(model);
    return () => recorder.end();
  },
};
