// Small pieces that every view is made of: health, times, cards, progress, tables.

import { fresh, h, icon, text, attribute } from "./dom.js";
import { HEALTH, ago, exactly, instant, named, percent, seconds, stateHealth, utc, bytes } from "./words.js";

/** Health as a shape and a word. */
export function health(value, word) {
  return h("span", { class: `health ${value}` }, icon(value), h("span", {}, word || HEALTH[value] || value));
}

/** The state of an order, a run or a job. */
export function state(value) {
  return health(stateHealth(value), named(value));
}

/** An instant; UTC on hover. */
export function time(value, words = instant) {
  if (value === null || value === undefined) return h("span", { class: "quiet" }, "–");
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
    h("div", { class: "card-head" }, h("h2", { id }, title), tools && h("div", { class: "tools" }, tools)), children);
}

/** A figure with its name, and what it means below. */
export function figure(name, value, below, kind = "") {
  return h("div", { class: `figure ${kind}` }, h("dt", {}, name), h("dd", {}, h("span", { class: "value" }, value),
    below && h("span", { class: "below" }, below)));
}

/** Pairs of name and value. */
export function facts(...pairs) {
  return h("dl", { class: "facts" }, pairs.filter(Boolean).map(([name, ...value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

/** How far something is; `set` brings it up to date. */
export class Bar {
  constructor(label) {
    this.meter = h("progress", { max: 100, "aria-label": label });
    this.words = h("span", { class: "bar-words" });
    this.node = h("div", { class: "bar" }, this.meter, this.words);
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

/** A table; `columns` are names or [name, class]. Cells carry their column's name for narrow screens. */
export function table(caption, columns, rows, empty = "Nothing here yet.") {
  const names = columns.map((column) => (Array.isArray(column) ? column : [column, ""]));
  if (!rows.length) return h("p", { class: "quiet" }, empty);
  return h("table", { class: "rows", role: "table" }, h("caption", { class: "unseen" }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, names.map(([name, kind]) => h("th", { scope: "col", role: "columnheader", class: kind },
      name || h("span", { class: "unseen" }, "Actions"))))),
    h("tbody", { role: "rowgroup" }, rows.map((cells) => h("tr", { role: "row" }, cells.map((cell, at) => h("td", {
      role: "cell", class: names[at][1], "data-label": names[at][0],
    }, cell))))));
}

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
  return h("div", { class: "choice", role: "group", "aria-label": label }, buttons);
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
  return h("div", { class: "head" }, h("div", {}, h("h1", {}, title), lead && h("p", { class: "lead" }, lead)),
    tools.length ? h("div", { class: "tools" }, tools) : null);
}

/** Words that something is awaited. */
export function waiting(words = "Loading…") {
  return h("p", { class: "quiet waiting", role: "status" }, words);
}
