import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { matches } from "../../byzer_magic/widgets/static/form/chooser.js";
import { stepped } from "../../byzer_magic/widgets/static/form/field.js";
import { Form } from "../../byzer_magic/widgets/static/form/screen.js";
import { isReference, State } from "../../byzer_magic/widgets/static/form/state.js";
import { Kernel, openPage, press, type, wait, words } from "./page.js";

const KEY = "infer_params.saas.api_key";
const EMPTY = {
  code: "",
  help: "",
  default: "",
  choices: [],
  minimum: null,
  maximum: null,
  step: null,
  env: [],
  known: true,
};

function spec(key, more = {}) {
  return { ...EMPTY, key, label: key, kind: "text", group: "model", required: false, ...more };
}

const SPECS = [
  spec("model", { required: true, help: "the alias" }),
  spec(KEY, { kind: "secret", code: "saas.api_key", env: ["A_KEY"] }),
  spec("num_workers", { kind: "int", group: "capacity", default: "1", minimum: 1, maximum: 8, step: 1 }),
  spec("infer_params.top_p", { kind: "float", group: "settings", code: "top_p", help: "nucleus" }),
  spec("replace", { kind: "flag", group: "advanced" }),
];

function state(values = {}) {
  const made = new State();
  made.specs = SPECS;
  made.begin({ values, secrets: {} });
  return made;
}

// ---- state

test("state keeps typed keys apart from values", () => {
  const form = state();
  form.change(SPECS[1], "sk-1");
  assert.deepEqual([form.values, form.secrets], [{}, { [KEY]: "sk-1" }]);
  form.change(SPECS[1], "${A_KEY}");
  assert.deepEqual([form.values, form.secrets], [{ [KEY]: "${A_KEY}" }, {}]);
  form.change(SPECS[1], "");
  assert.deepEqual([form.values, form.secrets], [{}, {}]);
});

test("references name a secret", () => {
  for (const text of ["${A}", "env:A", "keyring:a/b", "${A},env:B", "keyring:a/b, keyring:a/c"])
    assert.ok(isReference(text));
  for (const text of ["sk-1", "$A", "env:", "env:A,sk-1", "keyring:a/b,sk-1"]) assert.ok(!isReference(text));
});

test("state keeps what the user has filled in when another model is chosen", () => {
  const form = state({ model: "preset", replace: "true", infer_backend: "vllm" });
  for (const one of [SPECS[0], SPECS[3], spec("infer_backend")]) form.change(one, "mine");
  assert.deepEqual(form.kept, { model: "mine" });
});

test("state keeps that a flag was switched off", () => {
  const form = state({ model: "preset", check: "true" });
  const check = spec("check", { kind: "flag" });
  form.specs = [...SPECS, check];
  assert.deepEqual(form.kept, {});
  form.change(check, "");
  assert.deepEqual(form.kept, { check: "" });
});

test("state takes all fields of a pasted command as the user's", () => {
  const form = state();
  form.begin({ values: { model: "a" }, secrets: {}, pasted: true });
  assert.deepEqual(form.kept, { model: "a" });
});

test("remark reports what is missing once the field was touched or a button pressed", () => {
  const form = state();
  form.verdict = { missing: { model: "needed" } };
  assert.deepEqual(form.remark(SPECS[0], false), { text: "the alias", kind: "help" });
  assert.deepEqual(form.remark(SPECS[0], true), { text: "needed", kind: "error" });
  form.tried = true;
  assert.equal(form.remark(SPECS[0], false).kind, "error");
});

test("remark shows an error before a note, and no note about the form's own deployment", () => {
  const form = state({ model: "a" });
  form.verdict = { notes: { model: "taken" } };
  assert.equal(form.remark(SPECS[0], false).kind, "note");
  form.setWork({ state: "ready", alias: "a" });
  assert.equal(form.remark(SPECS[0], false).kind, "help");
  form.verdict = { notes: { model: "taken" }, errors: { model: "wrong" } };
  assert.deepEqual(form.remark(SPECS[0], false), { text: "wrong", kind: "error" });
});

test("error of the form is the general one, or that of a field that is not shown", () => {
  const form = state();
  assert.equal(form.error, undefined);
  form.verdict = { errors: { model: "of a field" } };
  assert.equal(form.error, undefined);
  form.verdict = { errors: { model: "of a field", other: "hidden" } };
  assert.equal(form.error, "hidden");
  form.verdict = { errors: { "": "general", other: "hidden" } };
  assert.equal(form.error, "general");
});

test("failure blames the field that is named", () => {
  const form = state({ "infer_params.top_p": "2" });
  form.setWork({ state: "failed", stage: "top_p must be below 1" });
  assert.equal(form.remark(SPECS[3], false).text, "top_p must be below 1");
  form.setWork({ state: "failed", stage: "no such key", field: KEY });
  assert.equal(form.remark(SPECS[1], false).text, "no such key");
  assert.equal(form.blamed({ stage: "out of memory" }), undefined);
});

test("settings show those that are set first, and what the search finds", () => {
  const form = state({ "infer_params.z": "1" });
  const many = Array.from({ length: 30 }, (_, at) => spec(`infer_params.a${at}`, { group: "settings" }));
  form.specs = [
    ...many,
    spec("infer_params.z", { group: "settings" }),
    spec("infer_params.q", { group: "settings", known: false }),
  ];
  const all = form.settings("");
  assert.equal(all.shown[0].key, "infer_params.z");
  assert.deepEqual([all.count, all.shown.length, all.more], [32, 24, 8]);
  assert.deepEqual(
    form.settings("params.q").shown.map((one) => one.key),
    ["infer_params.q"],
  );
});

test("cells are the command, or a file and the command that reads it", () => {
  const form = state({ model: "my model" });
  form.verdict = { line: "%byzer deploy", yaml: "model: my model" };
  assert.deepEqual(form.cells(false), ["%byzer deploy"]);
  assert.deepEqual(form.cells(true), [
    "%%writefile my_model.yml\nmodel: my model",
    "%byzer deploy --file my_model.yml",
  ]);
});

test("numbers step within their minimum", () => {
  assert.equal(stepped("1", 1, 1), "2");
  assert.equal(stepped("1", -1, 1), "1");
  assert.equal(stepped("0.1", 0.2, null), "0.3");
  assert.equal(stepped("x", 1, null), undefined);
});

test("chooser finds by every term and keeps the order of groups", () => {
  const choices = [
    { id: "engine:vllm", title: "vLLM", detail: "", note: "", group: "engine" },
    { id: "preset:a", title: "GPT", detail: "OpenAI", note: "", group: "preset" },
  ];
  assert.deepEqual(
    matches(choices, "").groups.map((group) => group.name),
    ["preset", "engine"],
  );
  assert.equal(matches(choices, "open gpt").count, 1);
  assert.equal(matches(choices, "open vllm").count, 0);
});

// ---- screen

let kernel;
let form;

function begin(more = {}) {
  kernel.emit(
    "form",
    {
      choices: [{ id: "p", title: "Preset", detail: "", note: "", group: "preset" }],
      models: [],
      room: "4 CPUs",
      values: { model: "a" },
      secrets: {},
      choice: "p",
      keys: ["A_KEY"],
      fields: SPECS,
      kind: "saas/openai",
      local: false,
      ...more,
    },
    1,
  );
}

beforeEach(() => {
  openPage();
  kernel = new Kernel({ words: words({ fix: "1 field", fix_many: "{count} fields" }) });
  form = new Form(kernel);
});

afterEach(() => form.end());

const input = (key) => form.fields.byKey.get(key).input;

test("form asks for its fields, shows them and checks them", () => {
  assert.deepEqual(kernel.sent, [{ type: "ready", id: 1 }]);
  begin();
  assert.equal(form.root.querySelectorAll("[data-key]").length, 4); // settings are closed
  assert.equal(input("model").value, "a");
  assert.deepEqual(kernel.last("check"), { type: "check", id: 2, values: { model: "a" }, typed: [] });
});

test("form sends typed keys only with a button", async () => {
  begin();
  type(input(KEY), "sk-1");
  await wait(180);
  assert.deepEqual(kernel.last("check").typed, [KEY]);
  assert.ok(!JSON.stringify(kernel.sent).includes("sk-1"));
  form.progress.deploy.click();
  assert.deepEqual(kernel.last("deploy").secrets, { [KEY]: "sk-1" });
});

test("form leaves out a check that another has overtaken", () => {
  begin();
  form.check();
  const checks = kernel.all("check").map((message) => message.id);
  const line = form.command.line;
  kernel.emit("checked", { errors: {}, line: "new", yaml: "" }, checks[1]);
  kernel.emit("checked", { errors: {}, line: "old", yaml: "" }, checks[0]);
  assert.equal(line.textContent, "new");
});

test("form refuses to deploy, shows the fields and focuses the first", () => {
  begin();
  form.progress.deploy.click();
  const { id } = kernel.last("deploy");
  kernel.emit(
    "refused",
    { errors: { "infer_params.top_p": "too large", num_workers: "not a number" }, missing: {} },
    id,
  );
  assert.equal(form.progress.stage.textContent, "2 fields");
  assert.equal(form.root.dataset.state, "failed");
  assert.equal(input("num_workers").getAttribute("aria-invalid"), "true");
  assert.ok(document.activeElement === input("num_workers"));
});

test("form is disabled while it deploys, and can be cancelled", () => {
  begin();
  form.progress.deploy.focus();
  kernel.emit("progress", { state: "running", stage: "loading", fraction: 0.5 });
  assert.ok(form.all.disabled);
  assert.equal(form.progress.bar.value, 0.5);
  assert.ok(document.activeElement === form.progress.cancel);
  press(form.root, "Escape");
  assert.equal(kernel.last("cancel").type, "cancel");
  kernel.emit("progress", { state: "stopped", stage: "cancelled" });
  assert.ok(!form.all.disabled);
  assert.ok(document.activeElement === form.progress.deploy);
});

test("form offers chat and an undeploy that asks first", () => {
  begin();
  kernel.emit("progress", { state: "ready", stage: "ready", alias: "a", chat: "%byzer chat a" });
  const buttons = [...form.progress.after.querySelectorAll("button")];
  assert.deepEqual(
    buttons.map((one) => one.textContent),
    ["chat", "undeploy"],
  );
  buttons[1].click();
  assert.equal(kernel.last("undeploy"), undefined);
  buttons[1].click();
  assert.equal(kernel.last("undeploy").alias, "a");
});

test("form keeps the cursor when other fields come", () => {
  begin();
  input("model").focus();
  input("model").setSelectionRange(1, 1);
  kernel.emit("machine", {
    models: [],
    room: "",
    fields: [{ ...SPECS[0], help: "new" }, spec("more")],
    kind: "k",
    local: true,
  });
  assert.ok(document.activeElement === input("model"));
  assert.equal(form.progress.test.textContent, "check");
});

test("form leaves a sentence when its kernel is gone, and forgets the keys", async () => {
  begin();
  type(input(KEY), "sk-1");
  await wait(5); // it is placed
  form.end("gone");
  assert.equal(document.querySelector(".bz-form"), null);
  assert.deepEqual(form.state.secrets, {});
  kernel.emit("progress", { state: "ready" });
  assert.equal(form.root.dataset.state, undefined);
});

test("paste shows its error in place and forgets the text when closed", () => {
  begin();
  form.paste.toggle.click();
  form.paste.area.value = "byzerllm stat";
  press(form.paste.area, "Enter", { ctrlKey: true });
  assert.equal(kernel.last("paste").text, "byzerllm stat");
  kernel.emit("error", { request: "paste", text: "deploys nothing" }, kernel.last("paste").id);
  assert.equal(form.paste.error.textContent, "deploys nothing");
  press(form.paste.area, "Escape");
  assert.ok(form.paste.element.hidden);
  assert.equal(form.paste.area.value, "");
});

test("secret asks for keyring entries once and shows references only", () => {
  begin();
  const { secret } = form.fields.byKey.get(KEY);
  secret.source.onfocus();
  secret.source.onfocus();
  assert.equal(kernel.all("keys").length, 1);
  kernel.emit("keys", { key: KEY, entries: ["keyring:byzerllm/A_KEY"] }, kernel.last("keys").id);
  assert.deepEqual(
    [...secret.source.querySelectorAll("option")].map((one) => one.value),
    ["", "${A_KEY}", "keyring:byzerllm/A_KEY"],
  );
  type(input(KEY), "sk-1");
  assert.equal(input(KEY).type, "password");
  type(input(KEY), "${A_KEY}");
  assert.equal(input(KEY).type, "text");
});

test("chooser is used with the keyboard", () => {
  begin();
  const { chooser } = form;
  press(chooser.input, "ArrowDown");
  assert.equal(chooser.input.getAttribute("aria-expanded"), "true");
  press(chooser.input, "ArrowDown");
  assert.equal(chooser.input.getAttribute("aria-activedescendant"), chooser.options[0].id);
  press(chooser.input, "Enter");
  assert.equal(kernel.last("choose").choice, "p");
  assert.ok(chooser.list.hidden);
});
