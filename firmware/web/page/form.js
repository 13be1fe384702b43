// Forms: what is wrong stands beside its field, what was typed stays, the focus goes there and a screen reader is told.

import { Problem, call, path } from "./api.js";
import { fill, fresh, h, icon, say, text, toast } from "./dom.js";

/**
 * A field with its label. `kind`: text, password, number, checkbox, select, textarea, datetime-local and so on; `options` of a select
 * are values or [value, words]. `field` is the JSON pointer by which the appliance names it.
 */
export function field(name, label, { kind = "text", value = "", hint, options, field: pointer, ...rest } = {}) {
  const id = fresh(name.replace(/\W/g, "-"));
  const common = { id, name, "data-field": pointer || `/${name}`, ...rest };
  let control;
  if (kind === "select") {
    control = h("select", common, (options || []).map((option) => {
      const [key, words] = Array.isArray(option) ? option : [option, option];
      return h("option", { value: key, ".selected": String(key) === String(value) }, words);
    }));
  } else if (kind === "textarea") control = h("textarea", { rows: 8, ...common, ".value": value });
  else if (kind === "checkbox") control = h("input", { type: "checkbox", ...common, ".checked": Boolean(value) });
  else control = h("input", { type: kind, ...common, ".value": value });
  const below = h("p.hint", { id: `${id}-hint` }, hint);
  const wrong = h("p.wrong", { id: `${id}-wrong` });
  control.setAttribute("aria-describedby", `${hint ? `${id}-hint ` : ""}${id}-wrong`);
  const labelled = h("label", { for: id }, label);
  return h("div", { class: `field ${kind}` }, kind === "checkbox" ? [control, labelled] : [labelled, control], hint ? below : null, wrong);
}

/** What a form holds: numbers as numbers, ticks as true and false, untouched empties as "". */
export function values(form) {
  const held = {};
  for (const control of form.elements) {
    if (!control.name) continue;
    if (control.type === "checkbox") held[control.name] = control.checked;
    else if (control.type === "radio") { if (control.checked) held[control.name] = control.value; }
    else if (control.type === "number") held[control.name] = control.value === "" ? null : Number(control.value);
    else held[control.name] = control.value;
  }
  return held;
}

function clear(form) {
  for (const wrong of form.querySelectorAll(".wrong")) text(wrong, "");
  for (const control of form.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
  const whole = form.querySelector(".form-problem");
  if (whole) whole.replaceChildren();
}

/** Shows a refusal beside its field, or above the buttons where it names none. */
export function refuse(form, problem) {
  const words = problem instanceof Problem ? problem.words : String(problem.message || problem);
  const wanted = problem.field || "";
  const controls = [...form.elements].filter((control) => control.dataset.field);
  const meant = wanted && (controls.find((control) => control.dataset.field === wanted)
    || controls.find((control) => wanted.startsWith(`${control.dataset.field}/`) || wanted.endsWith(control.dataset.field)));
  if (meant) {
    meant.setAttribute("aria-invalid", "true");
    text(document.getElementById(`${meant.id}-wrong`), words);
    meant.focus();
  } else fill(form.querySelector(".form-problem"), icon("bad"), " ", words);
  say(words);
}

/** A form: `send(values)` is awaited; what it throws is shown. `then` gets what it answered. */
export function form({ fields, submit, send, then, cancel, label, danger }) {
  const go = h("button", { type: "submit", class: danger ? "danger" : "primary" }, submit);
  const node = h("form", {
    "aria-label": label,
    novalidate: true,
    // What is being put right is wrong no longer.
    oninput: ({ target }) => {
      target.removeAttribute("aria-invalid");
      const wrong = document.getElementById(`${target.id}-wrong`);
      if (wrong) text(wrong, "");
    },
    onsubmit: async (event) => {
      event.preventDefault();
      if (go.getAttribute("aria-disabled") === "true") return;
      clear(node);
      go.setAttribute("aria-disabled", "true");
      node.classList.add("busy");
      try {
        const answer = await send(values(node));
        if (then) await then(answer);
      } catch (problem) {
        refuse(node, problem);
      } finally {
        go.removeAttribute("aria-disabled");
        node.classList.remove("busy");
      }
    },
  }, fields, h("p.form-problem"),
  h("div.buttons", go, cancel && h("button", { type: "button", onclick: cancel }, "Cancel")));
  return node;
}

/** A dialog over the page; `build(close)` gives its content. Resolves with what `close` is given, undefined where it is left. */
export function dialog(title, build, { closable = true, wide = false } = {}) {
  return new Promise((resolve) => {
    const id = fresh("dialog");
    const before = document.activeElement;
    let result;
    const box = h("dialog", {
      "aria-labelledby": id,
      class: wide ? "wide" : "",
      oncancel: (event) => { if (!closable) event.preventDefault(); },
      onclose: () => {
        box.remove();
        if (before && before.isConnected) before.focus();
        resolve(result);
      },
    });
    const close = (value) => { result = value; box.close(); };
    box.append(h("div.dialog-head", h("h2", { id, tabindex: "-1" }, title),
      closable ? h("button", { type: "button", class: "plain", "aria-label": "Close", onclick: () => close() }, "✕") : null));
    box.append(h("div.dialog-body", build(close)));
    document.body.append(box);
    box.showModal();
    (box.querySelector("input:not([type=hidden]), select, textarea") || box.querySelector("h2")).focus();
  });
}

/**
 * Asks whether something is to be done; where `typed` is given, that name is typed first. `send(name)` does it.
 * Resolves with what was answered, undefined where a person left it.
 */
export function confirm({ title, words, submit, typed, send, danger = true, fields = [] }) {
  return dialog(title, (close) => [
    ...[words].flat().filter(Boolean).map((part) => (part instanceof Node ? part : h("p", part))),
    form({
      label: title,
      danger,
      submit,
      fields: [...fields, typed ? field("confirm", ["Type ", h("code", typed), " to go on"]) : null],
      cancel: () => close(),
      send: async (held) => {
        if (typed && held.confirm !== typed) {
          throw Object.assign(new Error(`This is not the name: type ${typed}, letter by letter.`), { field: "/confirm" });
        }
        return send(held);
      },
      then: (answer) => close(answer ?? true),
    }),
  ]);
}

/** Does something that changes; says so, or that it waits for a second person. Answers the value, null where it waits. */
export async function change(method, parts, body, done) {
  const { status, value } = await call(method, path(parts), body);
  if (status === 202 && value?.state === "waits" && value.ends_millis) {
    toast(`This waits for a second person: ${value.words}. Another administrator grants it under Access.`, "attention");
    return null;
  }
  if (done) toast(done);
  return value;
}

/** The same, from a button: a refusal is shown as a sentence. */
export async function attempt(action) {
  try {
    return await action();
  } catch (problem) {
    const words = problem instanceof Problem ? problem.words : String(problem.message || problem);
    toast(words, "bad");
    return undefined;
  }
}
