// What a chat window knows, and what follows from it; nothing here touches the page.
import { fill } from "../kit.js";

/**
 * A prompt and its answer. `prompt` and `blocks` are HTML, rendered and escaped by the kernel.
 * @typedef {object} Turn
 * @property {number} id
 * @property {string} text
 * @property {string} prompt
 * @property {string} alias
 * @property {boolean} running
 * @property {string} answer
 * @property {string[]} blocks
 */
/**
 * @typedef {object} Setup
 * @property {string} alias
 * @property {Record<string, string[]>} models  capabilities by alias
 * @property {string} session
 * @property {string[]} sessions
 * @property {string} system
 * @property {Turn[]} turns
 * @property {boolean} running
 */

/** @type {Setup} */
export const EMPTY = { alias: "", models: {}, session: "", sessions: [], system: "", turns: [], running: false };

/** @type {Record<string, string[]>} */
const TAKEN_BY = { image: ["vision", "image"], audio: ["transcribe"] }; // capabilities, by kind of file

/**
 * Return `image`, `audio` or nothing.
 * @param {string} mime
 */
export function kindOf(mime) {
  if (mime === "video/webm") return "audio"; // browsers' name for recordings, too
  return /^(image|audio)\//.exec(mime)?.[1] ?? "";
}

/**
 * Return whether a model takes files of a kind.
 * @param {Setup} setup
 * @param {string} kind
 * @param {string} [alias]
 */
export function accepts(setup, kind, alias = setup.alias) {
  return (setup.models[alias] ?? []).some((capability) => TAKEN_BY[kind].includes(capability));
}

/**
 * Return the kinds of files that the model takes, as a file dialog wants them.
 * @param {Setup} setup
 */
export function acceptList(setup) {
  return ["image", "audio"]
    .filter((kind) => accepts(setup, kind))
    .map((kind) => `${kind}/*`)
    .join();
}

/**
 * Return why a file cannot be attached, or nothing.
 * @param {Setup} setup
 * @param {{name: string, type: string, size: number}} file
 * @param {number} limit  bytes
 * @param {import("../kit.js").Words} words
 */
export function refusal(setup, file, limit, words) {
  const kind = kindOf(file.type);
  if (!kind) return fill(words.no_kind, { name: file.name, type: file.type });
  if (!accepts(setup, kind)) {
    const others = Object.keys(setup.models).filter((name) => accepts(setup, kind, name));
    const hint = others.length ? ` ${fill(words.others, { names: others.join(", ") })}` : "";
    return fill(kind === "image" ? words.no_images : words.no_audio, setup) + hint;
  }
  return file.size > limit ? fill(words.too_large, { name: file.name, limit: limit / 1e6 }) : "";
}

/**
 * Return the turns after one has begun or ended; one that replaces an earlier turn ends all that followed it.
 * @param {Turn[]} turns
 * @param {Turn} turn
 * @param {number} replaced  the id of the earlier turn, or 0
 */
export function withTurn(turns, turn, replaced) {
  const at = replaced ? turns.findIndex((one) => one.id === replaced) : -1;
  const kept = at < 0 ? turns : turns.slice(0, at);
  return [...kept.filter((one) => one.id !== turn.id), turn];
}

/**
 * Return the aliases to choose from, the present one first.
 * @param {Setup} setup
 */
export function aliases(setup) {
  return [...new Set([setup.alias, ...Object.keys(setup.models)])];
}
