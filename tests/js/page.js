// A page without a browser, and the kernel's end of a screen: what it was sent, and what it sends.
import { Window } from "happy-dom";

const NAMES = [
  "document",
  "navigator",
  "Element",
  "HTMLElement",
  "HTMLInputElement",
  "HTMLSelectElement",
  "HTMLAudioElement",
];

/** Make a new page; the modules under test find it where a browser has it. */
export function openPage() {
  const window = new Window();
  window.IntersectionObserver = class {
    constructor(report) {
      this.report = report;
    }
    observe() {
      setTimeout(() => this.report([{ isIntersecting: true }]));
    }
    disconnect() {}
  };
  for (const name of NAMES) {
    Object.defineProperty(globalThis, name, { value: window[name], configurable: true, writable: true });
  }
  globalThis.window = window;
  globalThis.IntersectionObserver = window.IntersectionObserver;
  globalThis.requestAnimationFrame = (callback) => setTimeout(callback, 1);
  return window;
}

/** The kernel: an anywidget model, with a mount for the screen in the page. */
export class Kernel {
  constructor(state) {
    this.state = { mount: "m1", ...state };
    this.sent = [];
    this.listeners = new Set();
    document.body.innerHTML = '<div class="jp-OutputArea"><div data-bz-mount="m1"></div></div>';
  }

  get(name) {
    return this[name];
  }

  on(_, listener) {
    this.listeners.add(listener);
  }

  off(_, listener) {
    this.listeners.delete(listener);
  }

  send(message, _callbacks, buffers) {
    this.sent.push(buffers ? { ...message, buffers } : message);
  }

  /** Send a message to the screen; `id` is that of the message that it replies to. */
  emit(type, fields = {}, id = 0) {
    for (const listener of this.listeners) listener({ ...fields, type, id });
  }

  /** Return the messages of a type that the screen has sent. */
  all(type) {
    return this.sent.filter((message) => message.type === type);
  }

  /** Return the last message of a type. */
  last(type) {
    return this.all(type).at(-1);
  }
}

/** Return texts in which each key is its own text, except for those given. */
export function words(given = {}) {
  return new Proxy(given, { get: (texts, key) => texts[key] ?? (typeof key === "string" ? key : undefined) });
}

export const wait = (ms) => new Promise((done) => setTimeout(done, ms));

/** Press a key on an element. */
export function press(node, key, more = {}) {
  node.dispatchEvent(new window.KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more }));
}

/** Type a text into an input. */
export function type(node, text) {
  node.value = text;
  node.dispatchEvent(new window.Event("input", { bubbles: true }));
}
