// The vault: how large, what it costs, how it grows, whether it is whole, how long points are kept; the recovery kit to print.

import { get, may } from "./api.js";
import { chart, ofDays } from "./chart.js";
import { fill, h, icon, toast, quiet } from "./dom.js";
import { attempt, change, confirm, dialog, field, form } from "./form.js";
import { Bar, button, card, figure, head, health, since, state, table, time, serverLink } from "./parts.js";
import { bytes, count, dollars, millis } from "./words.js";

/** The view. */
export async function show() {
  let vault = await get("vault");
  const node = h("div");
  const set = (next) => {
    vault = next;
    fill(node, draw(vault, set));
  };
  set(vault);
  return {
    title: "Vault",
    element: node,
    live: (kind, data) => { if (kind === "job") follow(node, data, () => get("vault").then(set, () => {})); },
    refresh: () => get("vault").then(set),
  };
}

const bars = new Map();

/** A check or a pruning that runs is shown where it was begun. */
function follow(node, job, ended) {
  const place = node.querySelector(`[data-job="${job.kind}"]`);
  if (!place) return;
  if (job.state !== "running") {
    if (bars.delete(job.id)) ended();
    fill(place, h("p", state(job.state), " ", job.words));
    return;
  }
  let bar = bars.get(job.id);
  if (!bar) {
    bar = new Bar(job.kind);
    bars.set(job.id, bar);
  }
  if (!place.contains(bar.node)) fill(place, bar.node);
  bar.set(job.progress);
}

function draw(vault, set) {
  const growth = vault.growth;
  const week = growth.length > 7 ? growth.at(-1).bytes - growth.at(-8).bytes : null;
  const begin = (where, body, done) => () => attempt(async () => {
    const job = await change("POST", where, body, done);
    if (job) follow(document.getElementById("main"), job, () => {});
  });
  const verified = vault.verified;
  return [
    head("Vault", vault.place),
    h("dl.figures",
      figure("State", health(vault.health), vault.cause || "as it should be"),
      figure("Size", bytes(vault.bytes), [`${count(vault.objects)} objects, counted `, since(vault.counted_millis)]),
      figure("A month costs about", vault.month_millidollars === null ? "nothing" : dollars(vault.month_millidollars), vault.cost_says),
      figure("Growth", week === null ? "–" : `${week < 0 ? "−" : "+"}${bytes(Math.abs(week))}`, "within seven days"),
      figure("Recovery key", vault.key_confirmed_millis ? "at hand" : "not shown", vault.key_confirmed_millis ? ["typed ", since(vault.key_confirmed_millis)] : "nobody has typed it yet", vault.key_confirmed_millis ? "" : "warn")),
    card("Growth", {}, growth.length > 1 ? chart("Size of the vault", ofDays(growth), { say: bytes, base: 1024 }) : quiet("It was counted once: growth shows from the second day on.")),
    h("div.columns",
      card("Is it whole?", {
        tools: may("operator") ? [button("Verify", begin(["vault", "verify"], { deep: false }, "The check has begun.")),
          button("Verify deeply", begin(["vault", "verify"], { deep: true }, "The deep check has begun: every byte is read."))] : null,
      }, verified ? h("p", state(verified.state), " ", verified.words, " ", h("span.quiet", time(verified.began_millis), `, took ${millis(verified.took_millis)}`)) : quiet("It was not checked from here yet. A check looks for every object; a deep one reads every byte and its seal."),
      h("div", { "data-job": "verify", "aria-live": "polite" })),
      card("How long points are kept", {
        tools: may("administrator") && [button("Change", () => retention(vault, null, set)), button("Prune now…", prune, { class: "danger" })],
      }, table("Retention", ["Of", "Kept", ""], vault.retention.map((rule) => [rule.server ? serverLink(rule.server) : h("strong", "all others"), rule.keep ? h("code", rule.keep) : "for ever",
        may("administrator") ? button("Change", () => retention(vault, rule, set), { "aria-label": `Change how long points of ${rule.server || "all others"} are kept` }) : ""]), "For ever: nothing was said."),
      h("div", { "data-job": "prune", "aria-live": "polite" }))),
    card("Recovery kit", { tools: button("Show and print", kit, { class: "primary" }) }, h("p", "A page that says where everything is and what to do when this site is gone. It holds no key: keep it with the recovery key on paper, away from this room."),
      h("p.quiet.mono.wrap", `Vault ${vault.vault}`)),
  ];
}

async function kit() {
  const page = await attempt(() => get("vault", "kit"));
  if (!page) return;
  const sheet = h("pre.kit", { tabindex: "0" }, page.text);
  document.body.classList.add("printing-kit");
  await dialog("Recovery kit", () => [h("div.buttons", button("Print", () => print(), { class: "primary" })), sheet], { wide: true });
  document.body.classList.remove("printing-kit");
}

async function retention(vault, rule, set) {
  const servers = rule ? null : (await get("overview")).servers.map((row) => row.name);
  const next = await dialog("How long points are kept", (close) => form({
    label: "How long points are kept",
    submit: "Save",
    danger: true,
    cancel: () => close(),
    fields: [rule ? h("p", "Of ", h("strong", rule.server || "all servers that say nothing themselves")) : field("server", "Of", { kind: "select", options: [["", "all that say nothing themselves"], ...servers.map((name) => [name, name])] }),
      field("keep", "Kept", { value: rule?.keep || "", placeholder: "for ever", hint: "72h,hourly=7d,daily=30d: all of 72 hours, then one an hour for a week, one a day for a month. Empty: for ever." })],
    send: (held) => change("PUT", ["vault", "retention"], { server: (rule ? rule.server : held.server) || null, keep: held.keep.trim() || null }),
    then: (answer) => {
      if (answer) toast("It is changed, and holds from the next pruning.");
      close(answer);
    },
  }));
  if (next) set(next);
}

async function prune() {
  const trial = await attempt(() => change("POST", ["vault", "prune"], { dry_run: true }, "What would go is looked up; it is told among the jobs. Nothing is removed."));
  if (!trial) return;
  const job = await confirm({
    title: "Prune the vault", submit: "Prune", typed: "prune",
    words: [h("p", "Points that the retention no longer keeps are removed for good."), quiet(icon("working"), " What would go is being looked up: see the jobs.")],
    send: () => change("POST", ["vault", "prune"], { dry_run: false }, "Pruning has begun."),
  });
  if (job?.id) follow(document.getElementById("main"), job, () => {});
}
