// One server: how it fares, its points to pick from, its figures, its policy, whether it is ready, and what can be done.

import { get, may } from "./api.js";
import { chart } from "./chart.js";
import { fill, h, icon, text, quiet, mono, strong } from "./dom.js";
import { attempt, change, confirm, field } from "./form.js";
import { orderDialog } from "./ordering.js";
import { Bar, button, card, choice, facts, figure, health, since, table, time, waiting } from "./parts.js";
import { policyCard, readinessCard, targetCard } from "./protection.js";
import { Timeline, fetchPoints, pointFacts } from "./timeline.js";
import { bytes, counted, micros, millis, now, seconds, share } from "./words.js";

const FIGURES = [
  ["rpo", "RPO", seconds, 60], ["churn", "Changed, a second", (value) => `${bytes(value)}/s`, 1024],
  ["stored_percent", "Stored of 100 sent", share, 10], ["frozen", "Longest freeze", micros, 10], ["backlog", "Waiting for the vault", bytes, 1024],
];
const SPANS = [[3600, "Hour"], [86400, "Day"], [7 * 86400, "Week"], [30 * 86400, "Month"]];

/** The view; the address names the server. */
export async function show({ parts: [name], refresh }) {
  const [server, points] = await Promise.all([get("servers", name), fetchPoints(name)]);
  const view = new View(name, server, points, refresh);
  return {
    title: name,
    element: view.node,
    live: (kind, data) => view.live(kind, data),
    refresh: () => view.again(),
    close: () => view.close(),
  };
}

class View {
  constructor(name, server, points, refresh) {
    Object.assign(this, { name, server, refresh, closed: false });
    this.word = h("span");
    this.cause = h("p.lead");
    this.figures = h("dl.figures");
    this.troubles = h("div");
    this.copy = new Bar(`First copy of ${name}`);
    this.copyCard = card("First copy", { class: "first-copy" }, h("p", "Everything on its disks is read and sent once. Points can be recovered to once that is done."), this.copy.node);
    this.picked = h("div.picked", { "aria-live": "polite" });
    this.timeline = new Timeline(name, points, (point) => this.pick(point));
    this.charts = h("div.charts");
    this.actions = h("div.tools");
    this.disks = h("div");
    this.span = 86400;
    const policy = policyCard(name, server, (changed) => this.set(changed));
    this.policy = policy;
    this.node = h("div", {},
      h("div.head", h("div", h("p.crumb", h("a", { href: "#/" }, "Overview")), h("h1", name, " ", this.word), this.cause), this.actions),
      this.troubles, this.figures, this.copyCard,
      card("Recovery points", {}, points.length ? [this.timeline.node, this.picked] : quiet("There is none yet: the first comes once the first copy is done.")),
      card("Figures", { tools: choice("How far back", SPANS, this.span, (span) => { this.span = span; this.drawCharts(); }) }, this.charts),
      h("div.columns",
        card("Disks", {}, this.disks), may("operator") && readinessCard(name)),
      h("div.columns", policy.node, targetCard(name)),
      may("administrator") ? this.danger() : null);
    this.set(server);
    this.drawCharts();
  }

  close() {
    this.closed = true;
    this.timeline.close();
  }

  async again() {
    this.set(await get("servers", this.name));
    this.timeline.add(await fetchPoints(this.name));
  }

  set(server) {
    this.server = server;
    fill(this.word, health(server.health));
    text(this.cause, server.cause || (server.doing ? `The agent: ${server.doing}.` : "As it should be."));
    this.drawFigures(server);
    this.copyCard.hidden = !server.first_copy;
    if (server.first_copy) this.copy.set(server.first_copy);
    const notes = [...server.troubles];
    if (server.revoked) notes.push("Revoked: no agent comes in as this server any more. Its points stay.");
    if (server.accepts_another_machine) notes.push("The next machine that shows up as this server is taken for it.");
    if (server.failed_over) notes.push("A failover of it stands: what its original still writes is kept beside its points.");
    const key = JSON.stringify([notes, server.failed_over]);
    if (key !== this.noted) {
      this.noted = key;
      fill(this.troubles, notes.length ? h("div.card.trouble", h("ul.plain-list", notes.map((note) => h("li", icon("attention"), " ", note))),
        server.failed_over ? h("a.button", { href: `#/order/${encodeURIComponent(server.failed_over)}` }, "To its failover") : null) : null);
    }
    const disks = JSON.stringify(server.disks);
    if (disks !== this.disked) {
      this.disked = disks;
      fill(this.disks, table("Disks", ["Name", "Identity", ["Size", "number"], ["Changed, last hour", "number"], "Remarks"], server.disks.map((disk) => [
        strong(disk.name), mono(disk.identity || "–"), bytes(disk.bytes), bytes(disk.hour_bytes),
        disk.left_out ? health("off", "left out by the policy") : disk.unread_blocks ? health("bad", `${counted(disk.unread_blocks, "block")} could not be read`) : health("good", "protected"),
      ]), "The agent has not told its disks yet."));
    }
    this.drawActions();
  }

  drawFigures(server) {
    const late = server.rpo_seconds !== null && server.rpo_seconds > server.rpo_target_seconds;
    const drill = server.last_drill;
    const key = JSON.stringify([server.rpo_seconds, server.rpo_target_seconds, server.newest_point_millis, server.backlog_bytes, drill, server.frozen_micros_max, server.stored_percent, server.points, server.connected]);
    if (key === this.figured) return;
    this.figured = key;
    fill(this.figures,
      figure("RPO", seconds(server.rpo_seconds), `${late ? "missed, " : ""}target ${seconds(server.rpo_target_seconds)}`, late ? "warn" : ""),
      figure("Last point", since(server.newest_point_millis), `${counted(server.points, "point")} in the vault`),
      figure("Last drill", drill ? (drill.up ? `RTO ${millis(drill.rto_millis)}` : "failed") : "never", drill ? time(drill.at_millis) : "a drill proves that it starts", drill && !drill.up ? "warn" : ""),
      figure("Agent", server.connected ? "connected" : "not connected", server.connected ? server.doing || "waits for the next point" : "points stop until it is back", server.connected ? "" : "warn"),
      figure("Waiting", bytes(server.backlog_bytes), "for the vault"),
      figure("Freeze", micros(server.frozen_micros_max), server.frozen_micros_median === null ? "longest" : `longest; middle ${micros(server.frozen_micros_median)}`),
      figure("Stored", share(server.stored_percent), "of what was sent"));
  }

  drawActions() {
    const key = String(this.server.failed_over);
    if (!may("operator") || key === this.acted) return;
    this.acted = key;
    const order = (kind) => () => orderDialog({ server: this.name, kind, point: "latest" });
    fill(this.actions, button("Drill", order("drill"), { class: "primary" }), button("Planned failover", order("planned")), button("Failover", order("failover"), { class: "danger" }));
  }

  pick(point) {
    this.point = point;
    const place = { server: this.name, point: point.id };
    fill(this.picked,
      facts(...pointFacts(point),
        ["Frozen for", point.frozen_micros === null ? "not frozen" : micros(point.frozen_micros)],
        ["Identity", mono(point.id)],
        point.pinned ? ["Kept for good", point.pinned] : null,
        point.unread_blocks ? ["Not read", health("bad", counted(point.unread_blocks, "block"))] : null,
        point.remarks.length ? ["Remarks", h("ul.plain-list", point.remarks.map((remark) => h("li", remark)))] : null),
      h("div.buttons",
        h("a.button", { href: `#/files?${new URLSearchParams(place)}` }, "Browse its files"),
        may("operator") ? [
          button("Drill from this point", () => orderDialog({ server: this.name, kind: "drill", point: point.id, at: point.at_millis })),
          button("Fail over to this point", () => orderDialog({ server: this.name, kind: "failover", point: point.id, at: point.at_millis }), { class: "danger" }),
          point.pinned ? button("Let the retention count again", () => this.pin(point, false)) : button("Keep for good", () => this.pin(point, true)),
        ] : null));
  }

  async pin(point, wanted) {
    const where = ["servers", this.name, "points", point.id, "pin"];
    const set = (changed) => { if (changed) { Object.assign(point, changed); this.timeline.draw(); this.pick(point); } };
    if (!wanted) {
      set(await attempt(() => change("DELETE", where, undefined, "The retention counts for this point again.")));
      return;
    }
    set(await confirm({
      title: "Keep this point", danger: false, submit: "Keep it", words: "It stays, whatever the retention says, until somebody lets it go.",
      fields: [field("why", "Why", { hint: "Stands beside the point for whoever comes later." })],
      send: ({ why }) => change("PUT", where, { why }, "The point is kept."),
    }));
  }

  async drawCharts() {
    const span = this.span;
    if (!this.charts.firstChild) fill(this.charts, waiting());
    const all = await attempt(() => Promise.all(FIGURES.map(([figure]) => get("servers", this.name, "series", { figure, span_seconds: span }))));
    if (!all || span !== this.span || this.closed) return;
    fill(this.charts, FIGURES.map(([key, name, say, base], at) => h("figure", h("figcaption", name),
      chart(name, all[at], { say, base, target: key === "rpo" ? this.server.rpo_target_seconds : undefined }))));
  }

  live(kind, data) {
    if (kind !== "overview") return;
    const row = data.servers.find((one) => one.server === this.server.server);
    if (!row) return;
    const newer = row.newest_point_millis !== this.server.newest_point_millis;
    this.set({ ...this.server, ...row });
    if (newer || !this.looked || now() - this.looked > 30_000) {
      this.looked = now();
      this.again().catch(() => {});
    }
  }

  danger() {
    const name = this.name;
    const after = async (doing) => { if (await doing) this.again(); };
    return card("Beware", { class: "beware" }, h("div.rows-of-actions",
      h("div", h("p", h("strong", "Accept another machine. "), "After the server's hardware was replaced: the next machine that shows up as it is taken for it."),
        button("Accept another machine", () => after(confirm({
          title: `Accept another machine as ${name}`, words: "The next machine that shows up as this server will be taken for it.", submit: "Accept", typed: name,
          send: () => change("POST", ["servers", name, "accept"], { after_failover: false }, "The next machine is accepted."),
        })))),
      this.server.failed_over ? h("div", h("p", h("strong", "End the failover. "), "The original is the server again; what it wrote since stays beside."),
        button("The failover is over", () => after(confirm({
          title: `The failover of ${name} is over`, words: "What the original sends becomes points of this server again, after a compare of everything.", submit: "End it", typed: name,
          send: () => change("POST", ["servers", name, "accept"], { after_failover: true }, "The failover is over."),
        })))) : null,
      h("div", h("p", h("strong", "Revoke. "), "No agent comes in as this server any more. Its points stay."),
        button("Revoke", () => after(confirm({
          title: `Revoke ${name}`, words: "Its agent is turned away from now on. To protect it again, it is added again.", submit: "Revoke", typed: name,
          send: () => change("POST", ["servers", name, "revoke"], undefined, `${name} is revoked.`),
        })), { class: "danger" }))));
  }
}
