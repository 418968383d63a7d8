// Records in the page, and sends the sound to the kernel in pieces: a websocket takes 10 MB at a time, no more.
const PIECE = 1024 * 1024;
const KINDS = ["audio/webm;codecs=opus", "audio/webm", "audio/ogg;codecs=opus", "audio/mp4"];

function initialize({ model }) {
  const { words } = model.get("state");
  const root = document.createElement("div");
  root.className = "bz-recorder";
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", words.title);

  const add = (tag, set = {}) => root.appendChild(Object.assign(document.createElement(tag), set));
  const button = (name) => add("button", { type: "button", className: `bz-${name}`, textContent: words[name] });
  const record = button("record");
  const stop = button("stop");
  const meter = add("meter", { min: 0, max: 1, value: 0 });
  meter.setAttribute("aria-label", words.level);
  const preview = add("audio", { controls: true });
  preview.setAttribute("aria-label", words.recorded);
  const send = button("send");
  const discard = button("discard");
  const cancel = button("cancel");
  const label = add("label");
  const picker = document.createElement("input");
  Object.assign(picker, { type: "file", accept: "audio/*,video/webm,.m4a,.mp3,.wav,.ogg,.opus,.flac,.aac,.webm" });
  label.append(`${words.choose} `, picker);
  const status = add("p");
  status.setAttribute("role", "status");

  preview.addEventListener("loadedmetadata", () => {  // a fresh recording does not know its length before its end is looked for
    if (preview.duration !== Infinity) return;
    preview.addEventListener("timeupdate", () => { preview.currentTime = 0; }, { once: true });
    preview.currentTime = 1e7;
  });

  let stream, recorder, sound, meterTimer, context, address;
  const able = Boolean(navigator.mediaDevices?.getUserMedia && window.MediaRecorder);

  function show(state, text) {
    record.hidden = !able || !["ready", "recorded"].includes(state);
    record.textContent = state === "recorded" ? words.again : words.record;
    stop.hidden = meter.hidden = state !== "recording";
    preview.hidden = send.hidden = discard.hidden = state !== "recorded";
    cancel.hidden = state !== "sending";
    label.hidden = !["ready", "recorded"].includes(state);
    status.textContent = text;
  }

  function quiet() {
    clearInterval(meterTimer);
    stream?.getTracks().forEach((track) => track.stop());
    context?.close().catch(() => {});
    stream = recorder = context = undefined;
  }

  function listen() {  // shows how loud it is, and how long it has been
    context = new AudioContext();
    const analyser = context.createAnalyser();
    context.createMediaStreamSource(stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    const started = Date.now();
    meterTimer = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      meter.value = Math.min(1, 3 * Math.sqrt(samples.reduce((sum, value) => sum + value * value, 0) / samples.length));
      const seconds = Math.floor((Date.now() - started) / 1000);
      const time = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
      if (!status.textContent.endsWith(time)) status.textContent = `${words.recording} ${time}`;
    }, 100);
  }

  function take(blob, name) {
    if (!blob.size) return show("ready", words.empty);
    sound = { blob, name };
    if (address) URL.revokeObjectURL(address);
    address = preview.src = URL.createObjectURL(blob);
    show("recorded", words.recorded);
    send.focus();
  }

  async function begin() {
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    } catch (error) {
      return show("ready", words.denied.replace("{why}", error.name));
    }
    const type = KINDS.find((kind) => MediaRecorder.isTypeSupported(kind));
    recorder = new MediaRecorder(stream, type ? { mimeType: type } : {});
    const parts = [];
    recorder.ondataavailable = (event) => parts.push(event.data);
    recorder.onstop = () => {
      const blob = new Blob(parts, { type: recorder?.mimeType || type });
      quiet();
      take(blob, "");
    };
    recorder.start(1000);
    show("recording", `${words.recording} 0:00`);
    listen();
    stop.focus();
  }

  async function post() {
    const bytes = await sound.blob.arrayBuffer();
    const of = Math.ceil(bytes.byteLength / PIECE);
    show("sending", words.sending);
    for (let at = 0; at < of; at++) {
      const piece = bytes.slice(at * PIECE, (at + 1) * PIECE);
      model.send({ kind: "piece", at, of, name: sound.name }, undefined, [piece]);
    }
  }

  record.onclick = begin;
  stop.onclick = () => recorder?.stop();
  send.onclick = post;
  discard.onclick = () => {
    sound = undefined;
    show("ready", words.ready);
    record.focus();
  };
  cancel.onclick = () => model.send({ kind: "cancel" });
  picker.onchange = () => picker.files[0] && take(picker.files[0], picker.files[0].name);
  function answered(message) {
    if (message.kind === "failed") show(sound ? "recorded" : "ready", message.text);
    else if (message.kind === "end") end();
  }
  model.on("msg:custom", answered);

  function end() {
    model.off("msg:custom", answered);
    quiet();
    if (address) URL.revokeObjectURL(address);
    mount.end();
  }

  show("ready", able ? words.ready : words.cannot);
  const mount = new Mount(model, root, { gone: () => { model.send({ kind: "cancel" }); end(); }, dead: end, closed: end });
  return end;
}

export default { initialize };
