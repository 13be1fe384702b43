// Every server at a glance. 500 rows stay quick.

import { get, operator } from "./api.js";
import { Spark } from "./chart.js";
import { attribute, Bar, button, cause, cell, choice, figure, fill, frame, h, head, health, Keyed, quiet, row, rows, say, serverLink, since, text, time } from "./dom.js";
import { WORST, bytes, clock, count, counted, millis, named, percent, seconds } from "./words.js";

const COLUMNS = [
 ["name", "Server", (row) => row.name.toLowerCase()], ["health", "Health", (row) => WORST.indexOf(row.health)],
 ["rpo", "RPO, last hour", (row) => -((row.rpo_seconds ?? 1e9) / (row.rpo_target_seconds || 1))], ["point", "Last point", (row) => row.newest_point_millis ?? 0],
 ["backlog", "Waiting", (row) => -row.backlog_bytes], ["drill", "Last drill", (row) => row.last_drill?.at_millis ?? 0],
];
const kept = { sort: "health", down: false, text: "", health: "all" };
const adder = (words) => operator() && h("a.button.primary", { href: "#/add" }, words);

export async function show() {
 const whole = await get("overview");
 clock(whole.now_millis);
 const view = new View();
 view.set(whole);
 return {
  title: "Overview",
  element: view.node,
  live: (kind, data) => { if (kind === "overview") view.set(data); },
  refresh: async () => view.set(await get("overview")),
  close: () => { view.rows.run += 1; },
 };
}

class View {
 constructor() {
  const body = rows();
  this.rows = new Keyed(body, (server) => server.server, make, update);
  this.summary = h("dl.figures");
  this.found = quiet({ class: "found", "aria-live": "polite" });
  this.headings = COLUMNS.map(([key, name]) => h("th", { scope: "col", role: "columnheader", class: `c-${key}` },
   button([name, h("span.arrow", { "aria-hidden": "true" })], () => this.sortBy(key, key === kept.sort && !kept.down), { class: "sort" })));
  this.empty = h("div.empty.card", h("p", "No server is protected yet."), adder("Add the first server"));
  this.table = frame("Servers", this.headings, body, ".servers");
  this.bar = h("div.filter", h("input", {
   type: "search", placeholder: "Filter by name or cause", label: "Filter servers by name or cause", ".value": kept.text,
   oninput: (event) => { kept.text = event.target.value; this.draw(); },
  }), this.filters = h("div"),
  h("label.sorter", "Sort by ", h("select", { onchange: (event) => this.sortBy(event.target.value, false) },
   COLUMNS.map(([key, name]) => h("option", { value: key, ".selected": key === kept.sort }, name)))), this.found);
  this.node = h("div", head("Overview", null, adder("Add a server")), this.summary, this.empty, this.bar, this.table);
 }

 set(whole) {
  this.whole = whole;
  this.drawSummary(whole);
  this.draw();
 }

 drawSummary({ servers, vault, vault_cause, spool_bytes, spool_used_bytes, spool_left_seconds }) {
  const tally = Object.fromEntries(WORST.map((word) => [word, servers.filter((row) => row.health === word).length]));
  const { bad } = tally;
  const all = bad + tally.attention;
  const key = JSON.stringify([tally, vault, vault_cause, spool_bytes, spool_used_bytes, spool_left_seconds]);
  if (key === this.tallied) return;
  this.tallied = key;
  fill(this.summary,
   figure("Servers", counted(servers.length, "server"), all ? health(bad ? "bad" : "attention", `${count(all)} to look at`) : health("good", "all as they should be"), all && "warn"),
   figure("Vault", health(vault), vault_cause || "as it should be"),
   figure("Spool", spool_bytes ? `${percent(spool_used_bytes, spool_bytes)} % full` : "none",
    !spool_bytes ? "what is sent goes straight into the vault" : spool_left_seconds === null ? `${bytes(spool_used_bytes)} of ${bytes(spool_bytes)}` : `lasts ${seconds(spool_left_seconds)} without the vault`));
  const options = [["all", "All"], ...WORST.filter((word) => tally[word]).map((word) => [word, `${named(word)} ${count(tally[word])}`])];
  if (!options.some(([value]) => value === kept.health)) kept.health = "all";
  // Who stands on one of them goes on standing there.
  const at = [...this.filters.querySelectorAll("button")].indexOf(document.activeElement);
  fill(this.filters, choice("Health", options, kept.health, (value) => { kept.health = value; this.draw(); }));
  if (at >= 0) this.filters.querySelectorAll("button")[at]?.focus();
 }

 sortBy(key, down) {
  Object.assign(kept, { sort: key, down });
  say(`Sorted by ${COLUMNS.find(([name]) => name === key)[1]}`);
  this.draw();
 }

 draw() {
  const all = this.whole.servers;
  const wanted = kept.text.trim().toLowerCase();
  const value = COLUMNS.find(([key]) => key === kept.sort)[2];
  const chosen = all.filter((row) => (kept.health === "all" || row.health === kept.health)
   && (!wanted || row.name.toLowerCase().includes(wanted) || row.cause.toLowerCase().includes(wanted)));
  const turn = kept.down ? -1 : 1;
  const keyed = chosen.map((row) => [value(row), row]);
  keyed.sort(([a, x], [b, y]) => (a < b ? -turn : a > b ? turn : x.name < y.name ? -1 : 1));
  this.rows.set(keyed.map(([, row]) => row));
  COLUMNS.forEach(([key], at) => attribute(this.headings[at], "aria-sort", key === kept.sort && (kept.down ? "descending" : "ascending")));
  this.empty.hidden = all.length > 0;
  this.table.hidden = this.bar.hidden = !all.length;
  text(this.found, chosen.length === all.length ? counted(all.length, "server") : `${count(chosen.length)} of ${counted(all.length, "server")}`);
 }
}

function make(server) {
 const [place, word, rpo, target, drill, point, backlog, first] = ["span.quiet.agent", "div", "span.rpo", "span.cause.block", "div", "span", "span", "div"].map((tag) => h(tag));
 const held = { link: serverLink(server.name), why: cause(), spark: new Spark(), place, word, rpo, target, drill, point, backlog, first };
 held.node = row(h("th.c-name", { scope: "row", role: "rowheader" }, held.link, place),
  cell(["Health", "c-health"], word, held.why), cell(["RPO", "c-rpo"], h("div.rpo-cell", held.spark.node, h("span", rpo, target)), first),
  cell(["Last point", "c-point"], point), cell(["Waiting", "c-backlog"], backlog), cell(["Last drill", "c-drill"], drill));
 return held;
}

function update(held, row) {
 const key = JSON.stringify(row);
 if (held.was === key) return;
 const before = held.row || {};
 Object.assign(held, { was: key, row });
 text(held.link, row.name);
 text(held.place, row.connected ? "" : "agent not connected");
 if (before.health !== row.health) fill(held.word, health(row.health));
 text(held.why, row.cause);
 const late = row.rpo_target_seconds && row.rpo_seconds > row.rpo_target_seconds;
 const known = row.rpo_recent_seconds.filter((value) => value !== null);
 const words = row.rpo_seconds === null ? "no point yet" : seconds(row.rpo_seconds);
 text(held.rpo, words + (late ? ", missed" : ""));
 text(held.target, `target ${seconds(row.rpo_target_seconds)}`);
 held.rpo.className = late ? "rpo late" : "rpo";
 held.spark.set(row.rpo_recent_seconds, row.rpo_target_seconds,
  `RPO ${words} of ${seconds(row.rpo_target_seconds)}${known.length ? `; worst of the last hour ${seconds(Math.max(...known))}` : ""}`);
 text(held.backlog, row.backlog_bytes ? bytes(row.backlog_bytes) : "–");
 const drill = row.last_drill;
 if (JSON.stringify(before.last_drill) !== JSON.stringify(drill)) {
  fill(held.drill, drill ? [health(drill.up ? "good" : "bad", drill.up ? `RTO ${millis(drill.rto_millis)}` : "failed"), cause(time(drill.at_millis))] : h("span.quiet", "never"));
 }
 if (row.first_copy) {
  if (!held.bar) fill(held.first, (held.bar = new Bar(`First copy of ${row.name}`)).node);
  held.bar.set(row.first_copy);
 } else if (held.bar) {
  fill(held.first);
  held.bar = null;
 }
 if (before.newest_point_millis !== row.newest_point_millis) fill(held.point, row.newest_point_millis ? since(row.newest_point_millis) : "none yet");
}
