// Forms: what is wrong stands beside its field, what was typed stays, the focus goes there and a screen reader is told.

import { call, path } from "./api.js";
import { $, button, fill, fresh, h, icon, say, text, toast } from "./dom.js";

// Where what is wrong with a field is told.
export const beside = (id) => h("p.wrong", { id: `${id}-wrong` });

// A field with its label. What else it has says what kind it is; `options`: values or [value, words]; `field`: the JSON pointer by
// which the appliance names it.
export function field(name, label, { value = "", hint, options, rows, min, field: pointer, kind = kindOf(value, options, rows, min), ...rest } = {}) {
 const id = fresh(name.replace(/\W/g, "-"));
 const common = { id, name, "data-field": pointer ?? `/${name}`, "aria-describedby": `${hint ? `${id}-hint ` : ""}${id}-wrong`, rows, min, ...rest };
 const control = {
  select: () => h("select", common, options.map((option) => {
   const [key, words = key] = [option].flat();
   return h("option", { value: key, ".selected": String(key) === String(value) }, words);
  })),
  textarea: () => h("textarea.mono", { ...common, ".value": value }),
  checkbox: () => h("input", { type: "checkbox", ...common, ".checked": Boolean(value) }),
 }[kind]?.() || h("input", { type: kind, ...common, ".value": value });
 const labelled = h("label", { for: id }, label);
 return h("div", { class: `field ${kind}` }, kind === "checkbox" ? [control, labelled] : [labelled, control], hint && h("p.hint", { id: `${id}-hint` }, hint), beside(id));
}

const kindOf = (value, options, rows, min) => (options ? "select" : rows ? "textarea" : min != null ? "number" : typeof value === "boolean" ? "checkbox" : "text");

export function values(form) {
 const held = {};
 for (const { name, type, value, checked } of form.elements) {
  if (name) held[name] = type === "checkbox" ? checked : type === "number" ? (value === "" ? null : Number(value)) : ["text", "email", "url"].includes(type) && name !== "confirm" ? value.trim() : value;
 }
 return held;
}

export const why = (problem) => problem.words || String(problem.message || problem);
export const wrong = (field, words) => Object.assign(new Error(words), { field });
export const list = (text) => text.split(/[\s,]+/).filter(Boolean);

export function refuse(form, problem) {
 const wanted = problem.field;
 const controls = [...form.elements].filter((control) => control.dataset.field != null);
 const meant = wanted != null && (controls.find((control) => control.dataset.field === wanted)
  || controls.find((control) => wanted.startsWith(`${control.dataset.field}/`) || wanted.endsWith(control.dataset.field)));
 if (meant) {
  meant.setAttribute("aria-invalid", "true");
  meant.closest("details")?.setAttribute("open", "");
  text($(`${meant.id}-wrong`), why(problem));
  meant.focus();
 } else fill(form.querySelector(".form-problem"), icon("bad"), " ", why(problem));
 say(why(problem));
}

function forgive(control) {
 control.removeAttribute("aria-invalid");
 $(`${control.id}-wrong`)?.replaceChildren();
}

export function form({ fields, submit, send, then, cancel, label = submit, danger }) {
 const go = h("button", { type: "submit", class: danger ? "danger" : "primary" }, submit);
 const buttons = h("div.buttons", go, cancel && button("Cancel", () => cancel()));
 const problem = h("p.wrong.form-problem");
 const node = h("form", {
  label,
  novalidate: true,
  // What is being put right is wrong no longer.
  oninput: ({ target }) => forgive(target),
  onsubmit: async (event) => {
   event.preventDefault();
   if (go.getAttribute("aria-disabled")) return;
   [...node.elements].forEach(forgive);
   fill(problem);
   go.setAttribute("aria-disabled", "true");
   try {
    const answer = await send(values(node));
    await then?.(answer);
   } catch (problem) {
    refuse(node, problem);
   } finally {
    go.removeAttribute("aria-disabled");
   }
  },
 }, fields, problem, buttons);
 return Object.assign(node, { go, buttons });
}

export function dialog(title, build, { closable = true, wide = false } = {}) {
 return new Promise((resolve) => {
  const id = fresh("dialog");
  const before = document.activeElement;
  let result;
  const box = h("dialog", {
   "aria-labelledby": id,
   class: wide && "wide",
   oncancel: (event) => { if (!closable) event.preventDefault(); },
   onclose: () => {
    box.remove();
    if (before?.isConnected) before.focus();
    resolve(result);
   },
  });
  const close = (value) => { result = value; box.close(); };
  box.append(h("div.dialog-head", h("h2", { id, tabindex: "-1" }, title), closable && button("✕", () => close(), { class: "plain", label: "Close" })),
   h("div", build(close)));
  document.body.append(box);
  box.showModal();
  (box.querySelector("input, select, textarea") || box.querySelector("h2")).focus();
 });
}

export function typedName(held, name) {
 if (held.confirm !== name) throw wrong("/confirm", `This is not the name: type ${name}, letter by letter.`);
}

export function ask({ title, words = [], submit = title, typed, send, danger = Boolean(typed), fields = [], wide }) {
 return dialog(title, (close) => [
  [words].flat().map((part) => (part instanceof Node ? part : h("p", part))),
  form({
   danger,
   submit,
   label: title,
   fields: [fields, typed && field("confirm", ["Type ", h("code", typed), " to go on"])],
   cancel: close,
   send: async (held) => {
    if (typed) typedName(held, typed);
    return send(held);
   },
   then: (answer) => close(answer ?? true),
  }),
 ], { wide });
}

export const asking = (words, asked, after, attributes) => button(words, async () => {
 const done = await ask({ title: words, submit: words, ...asked });
 if (done) await after?.(done);
}, { class: asked.typed && "danger", ...attributes });

// Changes something; answers the value, or null where it waits for a second person.
export async function change(method, parts, body, done) {
 const { status, value } = await call(method, path(parts), body);
 if (status === 202 && value?.state === "waits" && value.ends_millis) {
  toast(`This waits for a second person: ${value.words}. Another administrator grants it under Access.`, "attention");
  return null;
 }
 if (done) toast(done);
 return value;
}

export const attempt = (action) => action().catch((problem) => { toast(why(problem), "bad"); });
export const doing = (words, action, after, attributes) => button(words, async () => {
 const done = await attempt(action);
 if (done != null) await after?.(done);
}, attributes);

export function loading(load, draw, place = h("div")) {
 const again = () => load().then((loaded) => fill(place, draw(loaded, again)), (problem) => fill(place, h("p.quiet", why(problem))));
 return { place, again };
}
