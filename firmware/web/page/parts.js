// Small pieces that every view is made of: health, times, cards, progress, tables.

import { fresh, h, icon, quiet, text, attribute } from "./dom.js";
import { HEALTH, ago, exactly, instant, named, percent, seconds, stateHealth, utc, bytes } from "./words.js";

/** Health as a shape and a word. */
export function health(value, word) {
  return h("span", { class: `health ${value}` }, icon(value), h("span", word || HEALTH[value] || value));
}

/** The state of an order, a run or a job. */
export function state(value) {
  return health(stateHealth(value), named(value));
}

/** An instant; UTC on hover. */
export function time(value, words = instant) {
  if (value === null || value === undefined) return h("span.quiet", "–");
  return h("time", { datetime: new Date(value).toISOString(), title: `${exactly(value)} · ${utc(value)}` }, words(value));
}

/** How long ago, kept right while it is shown. */
export function since(value) {
  const node = time(value, ago);
  if (value) node.dataset.since = value;
  return node;
}

/** Ages on the page go on. */
export function ageAll() {
  for (const node of document.querySelectorAll("[data-since]")) text(node, ago(Number(node.dataset.since)));
}

/** A section with a heading. */
export function card(title, attributes, ...children) {
  const id = fresh("card");
  const { tools, ...rest } = attributes || {};
  return h("section", { ...rest, class: `card ${rest.class || ""}`, "aria-labelledby": id },
    h("div.card-head", h("h2", { id }, title), tools && h("div.tools", tools)), children);
}

/** A figure with its name, and what it means below. */
export function figure(name, value, below, kind = "") {
  return h("div", { class: `figure ${kind}` }, h("dt", name), h("dd", h("span.value", value),
    below && h("span.below", below)));
}

/** Pairs of name and value. */
export function facts(...pairs) {
  return h("dl.facts", pairs.filter(Boolean).map(([name, ...value]) => h("div", h("dt", name), h("dd", value))));
}

/** How far something is; `set` brings it up to date. */
export class Bar {
  constructor(label) {
    this.meter = h("progress", { max: 100, "aria-label": label });
    this.words = h("span.bar-words");
    this.node = h("div.bar", this.meter, this.words);
  }

  set(progress, extra = "") {
    const { done_bytes: done, total_bytes: total, left_seconds: left } = progress;
    if (total) attribute(this.meter, "value", percent(done, total));
    else attribute(this.meter, "value", null);
    const far = total ? `${percent(done, total)} %, ${bytes(done)} of ${bytes(total)}` : done ? bytes(done) : "begun";
    const rest = left === null || left === undefined ? "" : `, ${seconds(left)} left`;
    text(this.words, far + rest + extra);
    return this;
  }
}

const name = (column) => [column].flat();

/** The frame of a table around its body. Roles are said, since narrow screens lay rows out as cards. */
export function frame(caption, columns, body, kind = "") {
  return h(`table.rows${kind}`, { role: "table" }, h("caption.unseen", caption), h("thead", { role: "rowgroup" }, row(columns.map((column) => (column instanceof Node ? column
    : h("th", { scope: "col", role: "columnheader", class: name(column)[1] }, name(column)[0] || h("span.unseen", "Actions")))))), body);
}

/** The body of a table. */
export const rows = (...children) => h("tbody", { role: "rowgroup" }, ...children);

/** A row of a table. */
export const row = (...cells) => h("tr", { role: "row" }, ...cells);

/** A cell, which carries its column's name for narrow screens. */
export const cell = (column, ...content) => h("td", { role: "cell", class: name(column)[1], "data-label": name(column)[0] }, ...content);

/** A whole table; a column is its name, or name and class. */
export function table(caption, columns, lines, empty = "Nothing here yet.") {
  return lines.length ? frame(caption, columns, rows(lines.map((cells) => row(cells.map((content, at) => cell(columns[at], [content])))))) : quiet(empty);
}

/** A sentence with its weight before it. */
export const note = (kind, ...words) => h("p", icon(kind), " ", words);

/** To a server's view. */
export const serverLink = (server, words = server) => h("a", { href: `#/server/${encodeURIComponent(server)}` }, words);

/** To an order's view. */
export const orderLink = (order, words) => h("a", { href: `#/order/${encodeURIComponent(order)}` }, words);

/** A button. */
export function button(words, onclick, attributes) {
  return h("button", { type: "button", ...attributes, onclick }, words);
}

/** A row of choices of which one holds. */
export function choice(label, options, chosen, onchoose) {
  const buttons = options.map(([value, words]) => button(words, () => {
    for (const other of buttons) attribute(other, "aria-pressed", other.dataset.value === String(value));
    onchoose(value);
  }, { "aria-pressed": String(value === chosen), "data-value": value }));
  return h("div.choice", { role: "group", "aria-label": label }, buttons);
}

/** Copies text, and says so on its own face. */
export function copier(words, value) {
  const node = button(words, async () => {
    try {
      await navigator.clipboard.writeText(value());
      text(node, "Copied");
    } catch {
      text(node, "Select it and copy by hand");
    }
    setTimeout(() => text(node, words), 3000);
  });
  return node;
}

/** The head of a view. */
export function head(title, lead, ...tools) {
  return h("div.head", h("div", h("h1", title), lead && h("p.lead", lead)),
    tools.length ? h("div.tools", tools) : null);
}

/** Words that something is awaited. */
export function waiting(words = "Loading…") {
  return h("p.quiet.waiting", { role: "status" }, words);
}
