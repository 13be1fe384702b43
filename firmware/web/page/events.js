// What happened: searched, live, and packed for whoever helps.

import { get, operator, path, search } from "./api.js";
import { card, cell, frame, h, head, health, Keyed, live, quiet, row, rows, serverLink, text, time } from "./dom.js";
import { attempt, doing } from "./form.js";
import { exactly } from "./words.js";

const SHOWN_MAX = 1000;
const RANK = ["good", "working", "attention", "bad"];

export async function show({ query }) {
 const asked = { text: query.text || "", at_least: query.at_least || "", object: query.object || "" };
 const body = rows();
 const list = new Keyed(body, (event) => event.number, makeRow, () => {});
 const more = doing("Older ones", () => load(held.at(-1)?.number));
 const count = live("p.quiet");
 const none = quiet("Nothing of this kind happened.");
 let held = [];
 let wait = null;
 const draw = () => {
  list.set(held);
  none.hidden = held.length > 0;
  text(count, held.length ? `${held.length} shown${more.hidden ? "" : ", there are older ones"}` : "");
 };
 const load = async (before) => {
  const page = await get("events", { ...asked, before, limit: 100 });
  held = before ? held.concat(page.events) : page.events;
  more.hidden = !page.more || held.length >= SHOWN_MAX;
  draw();
 };
 const asks = (tag, key, label, attributes, children) => h(tag, {
  label, ".value": asked[key],
  oninput: ({ target }) => {
   asked[key] = target.value;
   clearTimeout(wait);
   wait = setTimeout(() => {
    history.replaceState(null, "", `#/events?${search(asked)}`);
    attempt(() => load());
   }, 250);
  },
  ...attributes,
 }, children);
 const input = (key, label) => asks("input", key, label, { type: "search", placeholder: label });
 const fits = (event) => `${event.words} ${event.object} ${event.kind} ${event.by || ""}`.toLowerCase().includes(asked.text.toLowerCase())
  && (!asked.object || event.object === asked.object) && (!asked.at_least || RANK.indexOf(event.health) >= RANK.indexOf(asked.at_least));
 await load();
 return {
  title: "Events",
  element: h("div", head("Events", null, operator() && h("a.button", { href: path(["support-bundle"]), download: "lifeboat-support.tar.gz" }, "Support bundle")),
   card("What happened", {}, h("div.filter", input("text", "Search in all words"), input("object", "Of one object: server web1"),
    asks("select", "at_least", "How bad at least", {}, [["", "Everything"], ["attention", "Attention and worse"], ["bad", "Bad only"]].map(([value, words]) => h("option", { value, ".selected": value === asked.at_least }, words))), count),
   frame("Events", ["When", "How bad", "Object", "What", "By"], body, ".events"), none, more),
   quiet("The support bundle is for whoever helps. It holds no secret.")),
  live: (kind, data) => {
   if (kind !== "event" || !fits(data) || held.some((event) => event.number === data.number)) return;
   held = [data, ...held].sort((a, b) => b.number - a.number).slice(0, SHOWN_MAX);
   draw();
  },
  refresh: () => load(),
  close: () => { clearTimeout(wait); list.run += 1; },
 };
}

function makeRow(event) {
 const server = event.object.match(/^server (.+)$/)?.[1];
 return { node: row(cell("When", time(event.at_millis, exactly)), cell("How bad", health(event.health)),
  cell("Object", server ? serverLink(server, event.object) : event.object), cell("What", event.words), cell("By", event.by || "–")) };
}
