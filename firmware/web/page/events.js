// What happened: searched, live, and packed for whoever helps.

import { get, may, path } from "./api.js";
import { Keyed, h, text, quiet } from "./dom.js";
import { attempt } from "./form.js";
import { button, card, cell, frame, head, health, row, rows, serverLink, time } from "./parts.js";
import { exactly } from "./words.js";

const PAGE = 100;
const SHOWN_MAX = 1000;
const RANK = ["good", "working", "attention", "bad"];

/** The view. */
export async function show({ query }) {
  const asked = { text: query.text || "", at_least: query.at_least || "", object: query.object || "" };
  const body = rows();
  const list = new Keyed(body, (event) => event.number, makeRow, () => {});
  const more = button("Older ones", () => older());
  const count = quiet({ "aria-live": "polite" });
  const none = quiet("Nothing of this kind happened.");
  let held = [];
  let wait = null;
  const draw = () => {
    list.set(held);
    none.hidden = held.length > 0;
    text(count, held.length ? `${held.length} shown${more.hidden ? "" : ", there are older ones"}` : "");
  };
  const load = async (before) => {
    const page = await get("events", { ...asked, before, limit: PAGE });
    held = before ? held.concat(page.events) : page.events;
    more.hidden = !page.more || held.length >= SHOWN_MAX;
    draw();
  };
  const older = () => attempt(() => load(held.at(-1)?.number));
  const search = () => {
    clearTimeout(wait);
    wait = setTimeout(() => {
      history.replaceState(null, "", `#/events?${new URLSearchParams(Object.entries(asked).filter(([, value]) => value))}`);
      attempt(() => load());
    }, 250);
  };
  const input = (key, label, attributes) => h("input", { type: "search", "aria-label": label, placeholder: label, ".value": asked[key], oninput: (event) => { asked[key] = event.target.value; search(); }, ...attributes });
  const fits = (event) => {
    const words = `${event.words} ${event.object} ${event.kind} ${event.by || ""}`.toLowerCase();
    return (!asked.text || words.includes(asked.text.toLowerCase())) && (!asked.object || event.object === asked.object)
      && (!asked.at_least || RANK.indexOf(event.health) >= RANK.indexOf(asked.at_least));
  };
  await load();
  return {
    title: "Events",
    element: h("div", head("Events", null, may("operator") && h("a.button", { href: path(["support-bundle"]), download: "lifeboat-support.tar.gz" }, "Support bundle")),
      card("What happened", {}, h("div.filter", input("text", "Search in all words"), input("object", "Of one object: server web1"),
        h("select", { "aria-label": "How bad at least", onchange: (event) => { asked.at_least = event.target.value; search(); } },
          [["", "Everything"], ["attention", "Attention and worse"], ["bad", "Bad only"]].map(([value, words]) => h("option", { value, ".selected": value === asked.at_least }, words))), count),
      frame("Events", ["When", "How bad", "Object", "What", "By"], body, ".events"),
      none, more),
      quiet("The support bundle holds what helps whoever helps: versions, state, measurements, events. It holds no secret.")),
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
