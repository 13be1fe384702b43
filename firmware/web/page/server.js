// One server: how it fares, its points to pick from, how it is protected and what can be done.

import { admin, call, get, operator, path, search } from "./api.js";
import { chart } from "./chart.js";
import { Bar, button, card, choice, danger, facts, figure, fill, h, health, live, loud, mono, note, notes, orderLink, quiet, since, strong, table, text, time, toast, waiting } from "./dom.js";
import { asking, attempt, change, field, form, loading } from "./form.js";
import { orderDialog } from "./order.js";
import { fetchPoints, Timeline } from "./timeline.js";
import { MIB, bytes, counted, exactly, micros, millis, named, now, pace, seconds, share } from "./words.js";

const FIGURES = [
 ["rpo", "RPO", seconds, 60], ["churn", "Changed, a second", pace, 1024], ["stored_percent", "Stored of 100 sent", share, 10],
 ["frozen", "Longest freeze", micros, 10], ["backlog", "Waiting for the vault", bytes, 1024],
];
const SPANS = [[3600, "Hour"], [86400, "Day"], [7 * 86400, "Week"], [30 * 86400, "Month"]];

export async function show({ parts: [name] }) {
 const [server, points] = await Promise.all([get("servers", name), fetchPoints(name)]);
 return new View(name, server, points);
}

class View {
 constructor(name, server, points) {
  Object.assign(this, { title: name, name, span: 86400, drawn: {}, word: h("span"), lead: h("p.lead"), figures: h("dl.figures"), troubles: h("div"), disks: h("div"), charts: h("div.charts") });
  this.copy = new Bar(`First copy of ${name}`);
  this.copyCard = card("First copy", { class: "first-copy" }, h("p", "Everything on its disks is read and sent once. Points can be recovered to once that is done."), this.copy.node);
  this.picked = live("div.picked");
  this.timeline = points.length > 0 && new Timeline(name, points, (point) => this.pick(point));
  const order = (kind) => () => orderDialog({ server: name, kind });
  this.element = h("div",
   h("div.head", h("div", h("p.crumb", h("a", { href: "#/" }, "Overview")), h("h1", name, " ", this.word), this.lead),
    operator() && h("div.tools", button("Drill", order("drill"), loud), button("Planned failover", order("planned")), button("Failover", order("failover"), danger))),
   this.troubles, this.figures, this.copyCard,
   card("Recovery points", {}, this.timeline ? [this.timeline.node, this.picked] : quiet("There is none yet: the first comes once the first copy is done.")),
   card("Figures", { tools: choice("How far back", SPANS, this.span, (span) => { this.span = span; this.drawCharts(); }) }, this.charts),
   h("div.columns", card("Disks", {}, this.disks), operator() && readinessCard(name)),
   h("div.columns", policyCard(name, server, (changed) => this.set(changed)), targetCard(name, server.seed)),
   admin() && this.danger(server));
  this.set(server);
  this.drawCharts();
 }

 close() {
  this.closed = true;
  if (this.timeline) this.timeline.watcher.disconnect();
 }

 async refresh() {
  this.set(await get("servers", this.name));
  if (this.timeline) this.timeline.add(await fetchPoints(this.name));
 }

 draw(place, shown, draw) {
  const key = JSON.stringify(shown);
  if (this.drawn[place] === key) return;
  this.drawn[place] = key;
  fill(this[place], draw());
 }

 set(server) {
  this.server = server;
  this.draw("word", server.health, () => health(server.health));
  text(this.lead, server.cause || (server.doing ? `The agent: ${server.doing}.` : "As it should be."));
  this.copyCard.hidden = !server.first_copy;
  if (server.first_copy) this.copy.set(server.first_copy);
  const { failed_over: order, disks } = server;
  const all = [...server.troubles, server.revoked && "Revoked: no agent comes in as this server any more. Its points stay.",
   server.accepts_another_machine && "The next machine that shows up as this server is taken for it.",
   order && "A failover of it stands: what its original still writes is kept beside its points."].filter(Boolean);
  this.draw("troubles", [all, order], () => all.length > 0 && h("div.card.trouble", notes("attention", all), order && orderLink(order, "To its failover", "a.button")));
  this.draw("disks", disks, () => table("Disks", ["Name", "Identity", ["Size", "number"], ["Changed, last hour", "number"], "Remarks"], disks.map((disk) => [
   strong(disk.name), mono(disk.identity || "–"), bytes(disk.bytes), bytes(disk.hour_bytes),
   disk.left_out ? health("off", "left out by the policy") : disk.unread_blocks ? health("bad", `${counted(disk.unread_blocks, "block")} could not be read`) : health("good", "protected"),
  ]), "The agent has not told its disks yet."));
  const { rpo_seconds: rpo, rpo_target_seconds: target, last_drill: drill, frozen_micros_median: median, connected } = server;
  const late = target && rpo > target;
  this.draw("figures", server, () => [
   figure("RPO", seconds(rpo), `${late ? "missed, " : ""}target ${seconds(target)}`, late && "warn"),
   figure("Last point", since(server.newest_point_millis), `${counted(server.points, "point")} in the vault`),
   figure("Last drill", drill ? (drill.up ? `RTO ${millis(drill.rto_millis)}` : "failed") : "never", drill ? time(drill.at_millis) : "a drill proves that it starts", drill && !drill.up && "warn"),
   figure("Agent", connected ? "connected" : "not connected", connected ? server.doing || "waits for the next point" : "points stop until it is back", !connected && "warn"),
   figure("Waiting", bytes(server.backlog_bytes), "for the vault"),
   figure("Freeze", micros(server.frozen_micros_max), median === null ? "longest" : `longest; middle ${micros(median)}`),
   figure("Stored", share(server.stored_percent), "of what was sent")]);
 }

 pick(point) {
  const order = (kind) => () => orderDialog({ server: this.name, kind, point: point.id, at: point.at_millis });
  const where = ["servers", this.name, "points", point.id, "pin"];
  const set = (changed) => {
   Object.assign(point, changed);
   this.timeline.draw();
   this.pick(point);
  };
  fill(this.picked,
   facts(["Instant", time(point.at_millis, exactly)], ["Kind", named(point.consistency)], ["Read, stored", `${bytes(point.read_bytes)}, ${bytes(point.stored_bytes)}`],
    ["Frozen for", point.frozen_micros === null ? "not frozen" : micros(point.frozen_micros)], ["Identity", mono(point.id)],
    point.pinned && ["Kept for good", point.pinned],
    point.unread_blocks > 0 && ["Not read", health("bad", counted(point.unread_blocks, "block"))],
    point.remarks.length > 0 && ["Remarks", h("ul.plain-list", point.remarks.map((remark) => h("li", remark)))]),
   h("div.buttons", h("a.button", { href: `#/files?${search({ server: this.name, point: point.id })}` }, "Browse its files"),
    operator() && [
     button("Drill from this point", order("drill")), button("Fail over to this point", order("failover"), danger),
     point.pinned ? asking("Let the retention count again", { typed: this.name, send: () => change("DELETE", where, undefined, "The retention counts for this point again.") }, set)
      : asking("Keep for good", {
       title: "Keep this point", submit: "Keep it", words: "It stays, whatever the retention says, until somebody lets it go.",
       fields: field("why", "Why", { hint: "Stands beside the point for whoever comes later." }), send: (held) => change("PUT", where, held, "The point is kept."),
      }, set)]));
 }

 async drawCharts() {
  const { span } = this;
  if (!this.charts.firstChild) fill(this.charts, waiting());
  const all = await attempt(() => Promise.all(FIGURES.map(([figure]) => get("servers", this.name, "series", { figure, span_seconds: span }))));
  if (!all || span !== this.span || this.closed) return;
  fill(this.charts, FIGURES.map(([key, name, say, base], at) => h("figure", h("figcaption", name),
   chart(name, all[at], { say, base, target: key === "rpo" ? this.server.rpo_target_seconds : undefined }))));
 }

 live(kind, data) {
  const row = kind === "overview" && data.servers.find((one) => one.server === this.server.server);
  if (!row) return;
  const newer = row.newest_point_millis !== this.server.newest_point_millis;
  this.set({ ...this.server, ...row });
  if (newer || !this.looked || now() - this.looked > 30_000) {
   this.looked = now();
   this.refresh().catch(() => {});
  }
 }

 danger({ failed_over: order }) {
  const { name } = this;
  const deed = (what, means, words, verb, body, done) => h("div", h("p", strong(what), ". ", means),
   asking(what, { title: `${what}: ${name}`, words, typed: name, send: () => change("POST", ["servers", name, verb], body, done) }, () => this.refresh()));
  return card("Beware", { class: "beware" }, h("div.rows-of-actions",
   deed("Accept another machine", "After the server's hardware was replaced: the next machine that shows up as it is taken for it.",
    "The next machine that shows up as this server will be taken for it.", "accept", { after_failover: false }, "The next machine is accepted."),
   order && deed("The failover is over", "The original is the server again; what it wrote since stays beside.",
    "What the original sends becomes points of this server again, after a compare of everything.", "accept", { after_failover: true }, "The failover is over."),
   deed("Revoke", "No agent comes in as this server any more. Its points stay.",
    "Its agent is turned away from now on. To protect it again, an administrator adds it again.", "revoke", undefined, `${name} is revoked.`)));
 }
}

// Name at the API, label, least, most, hint, unit.
const NUMBERS = [
 ["interval_seconds", "A point every, seconds", 10, 86400, "10 to 86 400. The RPO's target follows it."], ["application_every", "Hooks run at every so many-th point", 0, null, "0: never. Those points are application-consistent."],
 ["freeze_budget_millis", "File systems are frozen for at most, ms", 0], ["freeze_limit_millis", "Thawed whatever happens after, ms", 0, 30000, "30 000 at most."],
 ["send_bytes_per_second", "Sends at most, MiB/s", 0, null, "0: no limit.", MIB], ["compare_bytes_per_second", "Reads everything at most, MiB/s", 0, null, "0: no limit.", MIB],
];

function locked(node) {
 if (!operator()) {
  node.buttons.hidden = true;
  for (const control of node.elements) control.disabled = true;
 }
 return node;
}

const policyCard = (name, { policy, disks }, changed) => card("Policy", {}, locked(form({
 label: `Policy of ${name}`,
 submit: "Change it now",
 fields: [h("div.grid", NUMBERS.map(([key, label, min, max, hint, unit = 1]) => field(key, label, { value: Math.round(100 * policy[key] / unit) / 100, min, max, hint, step: unit > 1 && "any" })),
  field("keep", "Points are kept", { value: policy.keep || "", placeholder: "as the vault's retention says", disabled: !admin(), hint: "72h,hourly=7d,daily=30d. Empty: as the vault's retention says." }),
  field("group", "Consistency group", { value: policy.group || "", hint: "Servers of a group are cut at one instant. Empty: none." })),
 disks.map((disk) => field(`left_out:${disk.name}`, `Leave out ${disk.name}`, { value: policy.left_out.includes(disk.name), field: "/left_out" })),
 field("paused", "Paused: no points are made", { value: policy.paused }),
 field("second_person", "Failover and deletion need a second person", { value: policy.second_person })],
 send: (held) => change("PUT", ["servers", name, "policy"], {
  ...Object.fromEntries(NUMBERS.map(([key, , , , , unit]) => [key, unit ? held[key] && Math.round(held[key] * unit) : held[key]])),
  keep: held.keep || null, group: held.group || null, paused: held.paused, second_person: held.second_person,
  left_out: disks.map((disk) => disk.name).filter((disk) => held[`left_out:${disk}`]),
 }),
 then: (answer) => {
  if (!answer) return;
  toast("The policy is changed, and holds from the next point.");
  changed(answer);
 },
})));

function readinessCard(name) {
 const place = h("div");
 const judge = async (azure) => {
  fill(place, waiting(azure ? "The subscription is asked…" : "It is judged…"));
  const found = await attempt(() => get("servers", name, "readiness", azure ? { azure } : {}));
  if (!found) return fill(place, quiet("It could not be judged."));
  const list = (title, kind, items) => items.length > 0 && [h("h3", title), notes(kind, items)];
  fill(place, h("p", health(found.ready ? "good" : "bad", found.ready ? "Ready to be recovered" : `${counted(found.problems.length, "thing")} in the way`),
   found.about_millis && `; a failover takes about ${millis(found.about_millis)}`),
  list("In the way", "bad", found.problems), list("Worth knowing", "attention", found.warnings), list("Repaired on the copy", "good", found.repairs),
  quiet("Judged ", since(found.judged_millis), `, the subscription was ${found.asked_azure ? "" : "not "}asked.`));
 };
 judge();
 return card("Readiness", { tools: [button("Judge now", () => judge()), button("Ask Azure too", () => judge(true))] }, place);
}

function targetCard(name, seed) {
 const where = ["servers", name, "target"];
 const { place, again } = loading(() => call("GET", path(where)).then(({ value }) => value, (problem) => {
  if (problem.status !== 404) throw problem;
  return "";
 }), (value) => locked(form({
  label: `Target profile of ${name}`,
  submit: "Save",
  fields: field("text", "Where it is recovered to in Azure (TOML)", { value, rows: 12, field: "", hint: "Subscription, region, resource group, network, size; seed = true keeps it warm. «lifeboat target --help» explains each." }),
  send: (held) => change("PUT", where, held.text),
  then: (answer) => { if (answer !== null) toast("The target profile is saved."); },
 })), h("div", waiting()));
 again();
 return card("Target profile", {}, seed && note(seed.trouble ? "attention" : "good", `Warm seed: ${seed.words}`, seed.trouble && `: ${seed.trouble}`, ", as of ", since(seed.at_millis), "."), place);
}
