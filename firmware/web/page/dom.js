// Elements of plain data, and the pieces of every view. Text is always text: nothing here takes markup.

import { ago, bytes, exactly, instant, named, percent, seconds, stateHealth, utc } from "./words.js";

// `h("p.quiet", { title: "…" }, children)`: attributes may be left out, `.name` sets a property, `onclick` listens, `label` is what is read aloud.
export const h = dresser((name) => document.createElement(name));
export const s = dresser((name) => document.createElementNS("http://www.w3.org/2000/svg", name));

function dresser(make) {
 return (tag, ...children) => {
  const [name, ...classes] = tag.split(".");
  const node = make(name);
  const attributes = children[0]?.constructor === Object ? children.shift() : {};
  for (const [key, value] of Object.entries(attributes)) {
   if (value == null || value === false) continue;
   if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
   else if (key.startsWith(".")) node[key.slice(1)] = value;
   else node.setAttribute(key === "label" ? "aria-label" : key, value === true ? "" : value);
  }
  node.classList.add(...classes);
  add(node, children);
  return node;
 };
}

export const $ = (id) => document.getElementById(id);
export const quiet = (...words) => h("p.quiet", ...words);
export const cause = (...words) => h("div.cause", ...words);
export const mono = (...words) => h("span.mono.wrap", ...words);
export const strong = (...words) => h("strong", ...words);
export const icon = (name) => s(`svg.icon.i-${name}`, { "aria-hidden": "true" }, s("use", { href: `#i-${name}` }));

function add(node, children) {
 for (const child of children.flat(9)) if (child != null && child !== false) node.append(child);
}

export function fill(node, ...children) {
 const held = document.createDocumentFragment();
 add(held, children);
 node.replaceChildren(held);
 return node;
}

// Set only where they differ: screen readers and layout are left alone.
export function text(node, value) {
 if (node.textContent !== String(value)) node.textContent = value;
}

export function attribute(node, name, value) {
 if (value == null || value === false) node.removeAttribute(name);
 else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

// Keeps children of `parent` in step with `items`: makes what is new, updates what stays, moves only what is out of place.
// Long lists go a slice at a time: typing and scrolling never wait.
export class Keyed {
 constructor(parent, key, make, update) {
  Object.assign(this, { parent, key, make, update, nodes: new Map(), run: 0 });
 }

 set(items) {
  const run = ++this.run;
  const wanted = new Set(items.map(this.key));
  for (const [key, held] of this.nodes) {
   if (!wanted.has(key)) {
    held.node.remove();
    this.nodes.delete(key);
   }
  }
  let at = 0;
  let place = this.parent.firstChild;
  const slice = () => {
   if (run !== this.run) return;
   const until = performance.now() + 8;
   while (at < items.length && performance.now() < until) {
    const item = items[at++];
    const key = this.key(item);
    if (!this.nodes.has(key)) this.nodes.set(key, this.make(item));
    const held = this.nodes.get(key);
    this.update(held, item);
    if (held.node === place) place = place.nextSibling;
    else this.parent.insertBefore(held.node, place);
   }
   if (at < items.length) setTimeout(slice);
  };
  slice();
 }
}

export function say(words) {
 const place = $("said");
 place.textContent = "";
 setTimeout(() => { place.textContent = words; }, 50);
}

export function toast(words, kind = "good") {
 const note = h(`p.toast.${kind}`, icon(kind), " ", words);
 $("toasts").append(note);
 setTimeout(() => note.remove(), 7000);
}

let counted = 0;

export const fresh = (prefix) => `${prefix}-${++counted}`;

// Health is a shape and a word, never a colour alone.
export const health = (value, word) => h("span", { class: `health ${value}` }, icon(value), h("span", word || named(value)));
export const state = (value) => health(stateHealth(value), named(value));

export const time = (value, words = instant) => (value == null ? h("span.quiet", "–")
 : h("time", { datetime: new Date(value).toISOString(), title: `${exactly(value)} · ${utc(value)}` }, words(value)));

export function since(value) {
 const node = time(value, ago);
 if (value) node.dataset.since = value;
 return node;
}

export function ageAll() {
 for (const node of document.querySelectorAll("[data-since]")) text(node, ago(Number(node.dataset.since)));
}

export function card(title, attributes, ...children) {
 const id = fresh("card");
 const { tools, ...rest } = attributes;
 return h("section", { ...rest, class: `card ${rest.class || ""}`, "aria-labelledby": id },
  h("div.card-head", h("h2", { id }, title), tools && h("div.tools", tools)), children);
}

export const figure = (name, value, below, kind = "") => h("div", { class: `figure ${kind}` }, h("dt", name), h("dd", h("span.value", value), below && h("span.below", below)));

export const facts = (...pairs) => h("dl.facts", pairs.map((pair) => pair && h("div", h("dt", pair[0]), h("dd", pair.slice(1)))));

export class Bar {
 constructor(label) {
  this.meter = h("progress", { max: 100, label });
  this.words = h("span.bar-words");
  this.node = h("div.bar", this.meter, this.words);
 }

 set({ done_bytes: done, total_bytes: total, left_seconds: left }, extra = "") {
  attribute(this.meter, "value", total ? percent(done, total) : null);
  const far = total ? `${percent(done, total)} %, ${bytes(done)} of ${bytes(total)}` : done ? bytes(done) : "begun";
  text(this.words, far + (left == null ? "" : `, ${seconds(left)} left`) + extra);
  return this;
 }
}

const name = (column) => [column].flat();
export const frame = (caption, columns, body, kind = "") => h(`table.rows${kind}`, { role: "table" }, h("caption.unseen", caption), h("thead", { role: "rowgroup" },
 row(columns.map((column) => (column instanceof Node ? column : h("th", { scope: "col", role: "columnheader", class: name(column)[1] }, name(column)[0] || h("span.unseen", "Actions")))))), body);
export const rows = (...children) => h("tbody", { role: "rowgroup" }, ...children);
export const row = (...cells) => h("tr", { role: "row" }, ...cells);
export const cell = (column, ...content) => h("td", { role: "cell", class: name(column)[1], "data-label": name(column)[0] }, ...content);
export const table = (caption, columns, lines, empty = "Nothing here yet.") => (lines.length ? frame(caption, columns, rows(lines.map((cells) => row(cells.map((content, at) => cell(columns[at], content)))))) : quiet(empty));

export const note = (kind, ...words) => h("p", icon(kind), " ", words);
export const notes = (kind, all) => h("ul.plain-list", all.map((words) => h("li", icon(kind), " ", words)));

export const serverLink = (server, words = server) => h("a", { href: `#/server/${encodeURIComponent(server)}` }, words);
export const orderLink = (order, words, tag = "a") => h(tag, { href: `#/order/${encodeURIComponent(order)}` }, words);
export const button = (words, onclick, attributes) => h("button", { type: "button", ...attributes, onclick }, words);
export const more = (words, ...content) => h("details", h("summary", words), ...content);
export const live = (tag = "div") => h(tag, { "aria-live": "polite" });
export const loud = { class: "primary" };
export const danger = { class: "danger" };

export function choice(label, options, chosen, onchoose) {
 const box = h("div.choice", { role: "group", label }, options.map(([value, words]) => button(words, ({ currentTarget }) => {
  for (const other of box.children) attribute(other, "aria-pressed", String(other === currentTarget));
  onchoose(value);
 }, { "aria-pressed": String(value === chosen) })));
 return box;
}

export function copier(words, value) {
 const node = button(words, async () => {
  const done = await navigator.clipboard.writeText(value()).then(() => "Copied", () => "Select it and copy by hand");
  text(node, done);
  setTimeout(() => text(node, words), 3000);
 });
 return node;
}

export const head = (title, lead, ...tools) => h("div.head", h("div", h("h1", title), lead && h("p.lead", lead)), h("div.tools", tools));
export const waiting = (words = "Loading…") => h("p.quiet.waiting", { role: "status" }, words);
