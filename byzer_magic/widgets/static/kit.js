// What all screens share: messages to and from the kernel, elements, live regions, the clipboard, files.

/**
 * A message, in either direction. The page numbers its messages from 1; what the kernel sends in reply has the same
 * `id`, and what it sends on its own has 0.
 * @typedef {{type: string, id: number, [field: string]: any}} Message
 */
/**
 * The part of anywidget's model that a screen uses: https://anywidget.dev/en/afm/
 * @typedef {object} Model
 * @property {(name: "state") => any} get
 * @property {(message: Message, callbacks?: undefined, buffers?: ArrayBuffer[]) => void} send
 * @property {(event: "msg:custom", handler: (message: Message) => void) => void} on
 * @property {(event: "msg:custom", handler: (message: Message) => void) => void} off
 * @property {any} [widget_manager]
 */
/** @typedef {Record<string, string>} Words  the texts of a screen, by key; `{name}` in them is for `fill` */

const CHUNK_BYTES = 1024 * 1024; // Jupyter's websocket closes on messages of 10 MB

/** Messages to the kernel and from it. */
export class Channel {
  /**
   * @param {Model} model
   * @param {Record<string, (message: any) => void>} handlers  by the message's type
   * @param {{after?: number, busy?: (busy: boolean) => void}} [options]  `busy` is called when what `ask` has sent is
   *   without a reply for `after` ms, and again when the kernel replies
   */
  constructor(model, handlers, { after = 0, busy = () => {} } = {}) {
    this.model = model;
    this.handlers = handlers;
    this.after = after;
    this.busy = busy;
    this.last = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    this.onMessage = (/** @type {Message} */ message) => this.receive(message);
    model.on("msg:custom", this.onMessage);
  }

  /**
   * Send a message and return its id.
   * @param {string} type
   * @param {object} [fields]
   * @param {ArrayBuffer[]} [buffers]
   */
  send(type, fields = {}, buffers = undefined) {
    const id = ++this.last;
    this.model.send({ ...fields, type, id }, undefined, buffers);
    return id;
  }

  /**
   * Send a message that the kernel replies to, and return its id.
   * @param {string} type
   * @param {object} [fields]
   * @param {ArrayBuffer[]} [buffers]
   */
  ask(type, fields = {}, buffers = undefined) {
    this.timer ??= setTimeout(() => this.busy(true), this.after);
    return this.send(type, fields, buffers);
  }

  /**
   * Send a file in chunks, each a message of type `piece` with `at` (its index) and `of` (their number).
   * @param {Blob} blob
   * @param {object} fields
   */
  async upload(blob, fields) {
    const bytes = await blob.arrayBuffer();
    const of = Math.max(1, Math.ceil(bytes.byteLength / CHUNK_BYTES));
    for (let at = 0; at < of; at++) {
      this.ask("piece", { ...fields, at, of }, [bytes.slice(at * CHUNK_BYTES, (at + 1) * CHUNK_BYTES)]);
    }
  }

  /** @param {Message} message */
  receive(message) {
    if (message.id) this.settle();
    this.handlers[message.type]?.(message);
  }

  settle() {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.busy(false);
  }

  close() {
    clearTimeout(this.timer);
    this.model.off("msg:custom", this.onMessage);
  }
}

// ---- texts

/**
 * Put values into a text's `{name}` fields; a field without a value becomes empty.
 * @param {string} text
 * @param {Record<string, any>} values
 */
export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

/**
 * Return `m:ss`.
 * @param {number} seconds
 */
export function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds) % 60).padStart(2, "0")}`;
}

/**
 * Return the words of a search, each of which must be in what is found.
 * @param {string} text
 */
export function terms(text) {
  return text.toLowerCase().split(/\s+/).filter(Boolean);
}

/**
 * @param {string} text
 * @param {string[]} wanted
 */
export function hasTerms(text, wanted) {
  const lower = text.toLowerCase();
  return wanted.every((term) => lower.includes(term));
}

// ---- elements

const PAGE = Math.random().toString(36).slice(2, 8); // each screen of a page has a copy of this script
let ids = 0;

/**
 * Return an id that no other element of the page has.
 * @param {string} name
 */
export function uid(name) {
  return `bz-${name}-${PAGE}${++ids}`;
}

/**
 * Create an element. Names with a dash, `role` and `for` are attributes, the others properties; `undefined` is left out.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} [props]
 * @param {(Node | string | null | undefined)[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined) continue;
    if (name.includes("-") || name === "role" || name === "for") node.setAttribute(name, value);
    else Object.assign(node, { [name]: value });
  }
  for (const child of children) if (child !== null && child !== undefined) node.append(child);
  return node;
}

/**
 * @param {string} text
 * @param {(event: MouseEvent) => void} onclick
 * @param {string} [className]
 */
export function button(text, onclick, className = "") {
  return make("button", { type: "button", className, textContent: text, onclick });
}

/**
 * Return the first element below `root` that fits.
 * @param {ParentNode} root
 * @param {string} selector
 * @returns {any}
 */
export function find(root, selector) {
  return root.querySelector(selector);
}

/** @param {Element} root */
export function hasFocus(root) {
  return root.contains(document.activeElement);
}

// ---- live regions

/**
 * Write a text into a live region. The same text again would be announced again.
 * @param {HTMLElement} region
 * @param {string} text
 */
export function announce(region, text) {
  if (region.textContent !== text) region.textContent = text;
}

/**
 * Write a text into a live region that is hidden while it is empty.
 * @param {HTMLElement} region
 * @param {string | undefined} text
 */
export function setAlert(region, text) {
  announce(region, text ?? "");
  region.hidden = !text;
}

/**
 * Show a text on a button for a moment.
 * @param {HTMLElement} where
 * @param {string} text
 */
export function flash(where, text) {
  where.dataset.text ??= where.textContent ?? "";
  where.textContent = text;
  setTimeout(() => {
    where.textContent = where.dataset.text ?? "";
  }, 1500);
}

// ---- keys

/**
 * Return whether Enter was pressed to send, not for a new line and not to choose what an input method offers.
 * @param {KeyboardEvent} event
 */
export function isSend(event) {
  return event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229; // 229: in Safari
}

// ---- clipboard and files

/**
 * Copy a text; pages that are not served by https have no `navigator.clipboard`.
 * @param {string} text
 */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const focused = /** @type {HTMLElement | null} */ (document.activeElement);
    const place = document.body.appendChild(make("textarea", { value: text }));
    place.select();
    document.execCommand("copy");
    place.remove();
    focused?.focus({ preventScroll: true });
  }
}

/**
 * Let the browser save a text as a file.
 * @param {string} text
 * @param {string} name
 * @param {string} type
 */
export function download(text, name, type) {
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  URL.revokeObjectURL(link.href);
}
