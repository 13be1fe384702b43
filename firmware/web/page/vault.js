// The vault: size, cost, growth, whether it is whole, how long points are kept; the recovery kit.

import { admin, get, operator } from "./api.js";
import { chart, ofDays } from "./chart.js";
import { Bar, button, card, danger, figure, fill, h, head, health, icon, loud, quiet, serverLink, since, state, strong, table, time } from "./dom.js";
import { ask, asking, attempt, change, dialog, doing, field } from "./form.js";
import { bytes, count, dollars, millis } from "./words.js";

export async function show() {
 const node = h("div");
 const set = (next) => fill(node, draw(next, set));
 const again = () => get("vault").then(set);
 await again();
 return {
  title: "Vault",
  element: node,
  live: (kind, data) => { if (kind === "job") follow(data, () => again().catch(() => {})); },
  refresh: again,
 };
}

const bars = new Map();
const follows = (job) => h("div", { "data-job": job, "aria-live": "polite" });

function follow(job, ended) {
 const place = document.querySelector(`[data-job="${job.kind}"]`);
 if (!place) return;
 if (job.state !== "running") {
  if (bars.delete(job.id)) ended?.();
  fill(place, h("p", state(job.state), " ", job.words));
  return;
 }
 if (!bars.has(job.id)) bars.set(job.id, new Bar(job.kind));
 const bar = bars.get(job.id);
 if (!place.contains(bar.node)) fill(place, bar.node);
 bar.set(job.progress);
}

function draw(vault, set) {
 const { growth, verified, key_confirmed_millis: typed } = vault;
 const week = growth.length > 7 ? growth.at(-1).bytes - growth.at(-8).bytes : null;
 const verify = (words, deep, done) => doing(words, () => change("POST", ["vault", "verify"], { deep }, done), follow);
 return [
  head("Vault", vault.place),
  h("dl.figures",
   figure("State", health(vault.health), vault.cause || "as it should be"),
   figure("Size", bytes(vault.bytes), [`${count(vault.objects)} objects, counted `, since(vault.counted_millis)]),
   figure("A month costs about", vault.month_millidollars === null ? "nothing" : dollars(vault.month_millidollars), vault.cost_says),
   figure("Growth", week === null ? "–" : `${week < 0 ? "−" : "+"}${bytes(Math.abs(week))}`, "within seven days"),
   figure("Recovery key", typed ? "at hand" : "not shown", typed ? ["typed ", since(typed)] : "nobody has typed it yet", !typed && "warn")),
  card("Growth", {}, growth.length > 1 ? chart("Size of the vault", ofDays(growth), { say: bytes, base: 1024 }) : quiet("It was counted once: growth shows from the second day on.")),
  h("div.columns",
   card("Is it whole?", {
    tools: operator() && [verify("Verify", false, "The check has begun."), verify("Verify deeply", true, "The deep check has begun: every byte is read.")],
   }, verified ? h("p", state(verified.state), " ", verified.words, " ", h("span.quiet", time(verified.began_millis), `, took ${millis(verified.took_millis)}`)) : quiet("It was not checked from here yet. A check looks for every object; a deep one reads every byte and its seal."),
   follows("verify")),
   card("How long points are kept", { tools: admin() && button("Prune now…", prune, danger) },
    table("Retention", ["Of", "Kept", ""], (vault.retention[0] ? vault.retention : [{ server: null }]).map((rule) => [
     rule.server ? serverLink(rule.server) : strong("the vault's default"), rule.keep ? h("code", rule.keep) : rule.server ? "as the default says" : "for ever",
     admin() && asking("Change", keepForm(rule), (next) => next.retention && set(next), { label: `Change how long points of ${rule.server || "all others"} are kept` }),
    ])),
    follows("prune"))),
  card("Recovery kit", { tools: button("Show and print", kit, loud) }, h("p", "A page that says where everything is and what to do when this site is gone. It holds no key: keep it with the recovery key on paper, away from this room."),
   h("p.quiet.mono.wrap", "Vault ", vault.vault)),
 ];
}

async function kit() {
 const page = await attempt(() => get("vault", "kit"));
 if (!page) return;
 document.body.classList.add("printing-kit");
 await dialog("Recovery kit", () => [h("div.buttons", button("Print", () => print(), loud)), h("pre.kit", { tabindex: "0" }, page.text)], { wide: true });
 document.body.classList.remove("printing-kit");
}

const keepForm = ({ server, keep }) => ({
 title: "How long points are kept", submit: "Save", danger: true, words: ["Of ", strong(server || "all servers that say nothing themselves")],
 fields: field("keep", "Kept", { value: keep || "", placeholder: server ? "as the default says" : "for ever", hint: "72h,hourly=7d,daily=30d: all of 72 hours, then one an hour for a week, one a day for a month." }),
 send: (held) => change("PUT", ["vault", "retention"], { server, keep: held.keep || null }, "It is changed, and holds from the next pruning."),
});

async function prune() {
 const trial = await attempt(() => change("POST", ["vault", "prune"], { dry_run: true }, "What would go is looked up; it is told among the jobs. Nothing is removed."));
 if (!trial) return;
 const job = await ask({
  title: "Prune the vault", submit: "Prune", typed: "prune",
  words: ["Points that the retention no longer keeps are removed for good.", quiet(icon("working"), " What would go is being looked up: see the jobs.")],
  send: () => change("POST", ["vault", "prune"], { dry_run: false }, "Pruning has begun."),
 });
 if (job?.id) follow(job);
}
