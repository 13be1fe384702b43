// Every server at a glance: health and cause, RPO against its target, last point, last drill. 500 rows stay quick.

import { get, may } from "./api.js";
import { Keyed, attribute, fill, h, say, text } from "./dom.js";
import { Bar, cell, choice, figure, frame, head, health, row, rows, time } from "./parts.js";
import { Spark } from "./chart.js";
import { HEALTH, WORST, ago, bytes, clock, count, counted, exactly, millis, percent, seconds, utc } from "./words.js";

const COLUMNS = [
  ["name", "Server"], ["health", "Health"], ["rpo", "RPO, last hour"], ["point", "Last point"], ["backlog", "Waiting"], ["drill", "Last drill"],
];
const kept = { sort: "health", down: false, text: "", health: "all" };

const SORTS = {
  name: (row) => row.name.toLowerCase(),
  health: (row) => WORST.indexOf(row.health),
  rpo: (row) => -((row.rpo_seconds ?? 1e9) / (row.rpo_target_seconds || 1)),
  point: (row) => row.newest_point_millis ?? 0,
  backlog: (row) => -row.backlog_bytes,
  drill: (row) => row.last_drill?.at_millis ?? 0,
};

/** The view. */
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
    close: () => view.close(),
  };
}

class View {
  constructor() {
    this.body = rows();
    this.rows = new Keyed(this.body, (server) => server.server, make, update);
    this.summary = h("dl.figures");
    this.found = h("p.quiet.found", { "aria-live": "polite" });
    this.headings = COLUMNS.map(([key, name]) => h("th", { scope: "col", role: "columnheader", class: `c-${key}` },
      h("button", { type: "button", class: "sort", onclick: () => this.sortBy(key) }, name, h("span.arrow", { "aria-hidden": "true" }))));
    const search = h("input", {
      type: "search", placeholder: "Filter by name or cause", "aria-label": "Filter servers by name or cause", ".value": kept.text,
      oninput: (event) => { kept.text = event.target.value; this.draw(); },
    });
    this.empty = h("div.empty.card", { hidden: true }, h("p", "No server is protected yet."),
      may("operator") && h("a.button.primary", { href: "#/add" }, "Add the first server"));
    this.filters = h("div");
    this.table = frame("Servers", this.headings, this.body, ".servers");
    this.sorter = h("label.sorter", "Sort by ", h("select", {
      onchange: (event) => { kept.sort = event.target.value; kept.down = false; this.draw(); },
    }, COLUMNS.map(([key, name]) => h("option", { value: key, ".selected": key === kept.sort }, name))));
    this.bar = h("div.filter", search, this.filters, this.sorter, this.found);
    this.node = h("div", head("Overview", null, may("operator") && h("a.button.primary", { href: "#/add" }, "Add a server")),
      this.summary, this.empty, this.bar, this.table);
    // Ages go on between two messages.
    this.timer = setInterval(() => this.ages(), 10_000);
  }

  close() {
    clearInterval(this.timer);
    this.rows.run += 1;
  }

  set(whole) {
    this.whole = whole;
    const tally = Object.fromEntries(WORST.map((word) => [word, 0]));
    for (const row of whole.servers) tally[row.health] += 1;
    const key = JSON.stringify([tally, whole.vault, whole.vault_cause, whole.spool_bytes, whole.spool_used_bytes, whole.spool_left_seconds]);
    if (key !== this.tallied) {
      this.tallied = key;
      this.drawSummary(whole, tally);
    }
    this.draw();
  }

  drawSummary(whole, tally) {
    const bad = tally.bad + tally.attention;
    fill(this.summary,
      figure("Servers", counted(whole.servers.length, "server"), bad ? health(tally.bad ? "bad" : "attention", `${count(bad)} to look at`) : health("good", "all as they should be"), bad ? "warn" : ""),
      figure("Vault", health(whole.vault), whole.vault_cause || "as it should be"),
      figure("Spool", whole.spool_bytes ? `${percent(whole.spool_used_bytes, whole.spool_bytes)} % full` : "none",
        whole.spool_bytes ? (whole.spool_left_seconds === null ? `${bytes(whole.spool_used_bytes)} of ${bytes(whole.spool_bytes)}` : `lasts ${seconds(whole.spool_left_seconds)} without the vault`) : "what is sent goes straight into the vault"));
    const options = [["all", "All"], ...WORST.filter((word) => tally[word]).map((word) => [word, `${HEALTH[word]} ${count(tally[word])}`])];
    if (!options.some(([value]) => value === kept.health)) kept.health = "all";
    const had = this.filters.contains(document.activeElement) && document.activeElement.dataset.value;
    fill(this.filters, choice("Health", options, kept.health, (value) => { kept.health = value; this.draw(); }));
    if (had) this.filters.querySelector(`[data-value="${had}"]`)?.focus();
  }

  sortBy(key) {
    if (kept.sort === key) kept.down = !kept.down;
    else Object.assign(kept, { sort: key, down: false });
    say(`Sorted by ${COLUMNS.find(([name]) => name === key)[1]}`);
    this.draw();
  }

  draw() {
    const wanted = kept.text.trim().toLowerCase();
    const value = SORTS[kept.sort];
    const chosen = this.whole.servers.filter((row) => (kept.health === "all" || row.health === kept.health)
      && (!wanted || row.name.toLowerCase().includes(wanted) || row.cause.toLowerCase().includes(wanted)));
    const keyed = chosen.map((row) => [value(row), row]);
    const turn = kept.down ? -1 : 1;
    keyed.sort(([a, x], [b, y]) => (a < b ? -turn : a > b ? turn : x.name < y.name ? -1 : 1));
    this.rows.set(keyed.map(([, row]) => row));
    COLUMNS.forEach(([key], at) => attribute(this.headings[at], "aria-sort", key === kept.sort ? (kept.down ? "descending" : "ascending") : null));
    const all = this.whole.servers.length;
    this.empty.hidden = all > 0;
    this.table.hidden = this.bar.hidden = all === 0;
    text(this.found, chosen.length === all ? counted(all, "server") : `${count(chosen.length)} of ${counted(all, "server")}`);
  }

  ages() {
    for (const held of this.rows.nodes.values()) age(held);
  }
}

function make() {
  const link = h("a", { href: `#/server/${encodeURIComponent(row.name)}` });
  const place = h("span.quiet.agent");
  const word = h("div");
  const cause = h("div.cause");
  const spark = new Spark();
  const rpo = h("span.rpo");
  const target = h("span.cause.block");
  const point = h("time");
  const backlog = h("span");
  const drill = h("div");
  const first = h("div");
  const node = row(
    h("th", { scope: "row", role: "rowheader", class: "c-name" }, link, place),
    cell(["Health", "c-health"], word, cause), cell(["RPO", "c-rpo"], h("div.rpo-cell", spark.node, h("span", rpo, target)), first),
    cell(["Last point", "c-point"], point), cell(["Waiting", "c-backlog"], backlog), cell(["Last drill", "c-drill"], drill));
  return { node, link, place, word, cause, spark, rpo, target, point, backlog, drill, first };
}

function update(held, row) {
  // Most rows are as they were.
  const key = JSON.stringify(row);
  if (held.was === key) return;
  const before = held.row;
  held.was = key;
  held.row = row;
  text(held.link, row.name);
  text(held.place, row.connected ? "" : "agent not connected");
  if (before?.health !== row.health) fill(held.word, health(row.health));
  text(held.cause, row.cause);
  const late = row.rpo_seconds !== null && row.rpo_seconds > row.rpo_target_seconds;
  const known = row.rpo_recent_seconds.filter((value) => value !== null);
  const words = row.rpo_seconds === null ? "no point yet" : seconds(row.rpo_seconds);
  text(held.rpo, words + (late ? ", missed" : ""));
  text(held.target, `target ${seconds(row.rpo_target_seconds)}`);
  held.rpo.className = `rpo${late ? " late" : ""}`;
  held.spark.set(row.rpo_recent_seconds, row.rpo_target_seconds,
    `RPO ${words} of ${seconds(row.rpo_target_seconds)}${known.length ? `; worst of the last hour ${seconds(Math.max(...known))}` : ""}`);
  text(held.backlog, row.backlog_bytes ? bytes(row.backlog_bytes) : "–");
  const drill = row.last_drill;
  if (JSON.stringify(before?.last_drill) !== JSON.stringify(drill) || !before) {
    fill(held.drill, drill ? [health(drill.up ? "good" : "bad", drill.up ? `RTO ${millis(drill.rto_millis)}` : "failed"), h("div.cause", time(drill.at_millis))]
      : h("span.quiet", "never"));
  }
  if (row.first_copy) {
    held.bar ||= new Bar("First copy");
    attribute(held.bar.meter, "aria-label", `First copy of ${row.name}`);
    if (!held.bar.node.isConnected) fill(held.first, held.bar.node);
    held.bar.set(row.first_copy);
  } else if (held.bar) {
    held.first.replaceChildren();
    held.bar = null;
  }
  attribute(held.point, "datetime", row.newest_point_millis ? new Date(row.newest_point_millis).toISOString() : null);
  attribute(held.point, "title", row.newest_point_millis ? `${exactly(row.newest_point_millis)} · ${utc(row.newest_point_millis)}` : null);
  age(held);
}

function age(held) {
  if (held.row) text(held.point, held.row.newest_point_millis ? ago(held.row.newest_point_millis) : "none yet");
}
