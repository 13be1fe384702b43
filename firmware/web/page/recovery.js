// Drills, failovers and plans; and what was left standing in Azure.

import { admin, call, get, operator, path } from "./api.js";
import { button, card, cell, danger, fill, frame, h, head, icon, Keyed, live, loud, mono, note, orderLink, quiet, row, rows, serverLink, state, table, text, time, toast, waiting } from "./dom.js";
import { asking, attempt, change, doing, field, loading, wrong } from "./form.js";
import { orderDialog } from "./order.js";
import { millis, named } from "./words.js";

export async function show() {
 const known = new Map();
 const body = rows();
 const none = quiet("Nothing was ordered yet. A drill proves that a server can be recovered, and touches nothing.");
 const list = new Keyed(body, (order) => order.order, makeRow, updateRow);
 const whole = frame("Orders", ["Server", "What", "State", "Ordered", "By", "RTO"], body);
 const add = (orders) => {
  for (const order of orders) known.set(order.order, order);
  list.set([...known.values()].sort((a, b) => b.ordered_millis - a.ordered_millis));
  whole.hidden = !known.size;
  none.hidden = known.size > 0;
 };
 let planned = "";
 const plans = loading(() => get("plans"), (all, again) => all.length ? all.map((plan) => planCard(plan, again)) : quiet("No plan yet. A plan recovers many servers in order, with waits and manual steps."));
 const follow = async () => {
  const now = JSON.stringify(await get("plans"));
  if (now !== planned) await plans.again();
  planned = now;
 };
 const again = async () => {
  add(await get("orders"));
  await follow();
 };
 await again();
 const timer = setInterval(() => { if (!document.hidden) follow().catch(() => {}); }, 5000);
 return {
  title: "Recovery",
  element: h("div",
   head("Recovery", "Drills, failovers and plans. Each step is told as it happens, and goes on whatever becomes of this page.",
    operator() && [button("Order a drill", () => orderDialog({ kind: "drill" }), loud), button("Order a failover", () => orderDialog({ kind: "failover" }), danger)]),
   card("Orders", {}, none, whole),
   card("Plans", { tools: admin() && asking("Write a plan", planForm(), plans.again) }, plans.place),
   operator() && sweepCard()),
  live: (kind, data) => { if (kind === "order") add([data]); },
  refresh: again,
  close: () => clearInterval(timer),
 };
}

function makeRow(order) {
 const [standing, step, rto] = [h("div"), h("div.cause"), h("span")];
 const node = row(h("th", { scope: "row", role: "rowheader" }, orderLink(order.order, order.server)),
  cell("What", named(order.kind)), cell("State", standing, step), cell("Ordered", time(order.ordered_millis)), cell("By", order.by), cell("RTO", rto));
 return { node, standing, step, rto };
}

function updateRow(held, order) {
 if (held.state !== order.state) fill(held.standing, state(order.state));
 held.state = order.state;
 const at = order.steps.find((step) => ["begun", "failed"].includes(step.standing));
 text(held.step, order.trouble || (at && order.running ? `${named(at.step)}, ${order.steps.filter((step) => step.standing === "done").length} of ${order.steps.length} steps done` : ""));
 text(held.rto, order.up ? millis(order.rto_millis) : "–");
}

function planCard(plan, again) {
 const { name, groups, last_run: run } = plan;
 const going = run && ["open", "clearing"].includes(run.state);
 const begin = (drill, done) => (held = {}) => change("POST", ["plans", name, "run"], { drill, confirm: held.confirm || "" }, done);
 const commit = run && !run.drill && ["done", "done_badly"].includes(run.state) && run.orders.some((order) => order.state === "up");
 return h("article.plan", h("div.card-head", h("h3", name, " ", run && state(run.state)), h("div.tools",
  operator() && [
   !going && [doing("Drill it", begin(true, `The drill of ${name} has begun.`), again),
    asking("Fail over", {
     title: `Fail over by the plan ${name}`, typed: name, words: ["Every server of the plan is started in Azure, group by group:", groups.map((group) => group.join(", ")).join(" → ")],
     send: begin(false, `The failover by ${name} has begun.`),
    }, again)],
   commit && asking("Commit", {
    title: `Commit the failover by ${name}`, typed: name, words: "All its servers are kept: what was prepared for taking them back is removed.",
    send: (held) => change("POST", ["plans", name, "commit"], { confirm: held.confirm }, "The failover is being committed."),
   }, again, loud),
   admin() && asking("Edit", planForm(plan), again)],
  run && h("a.button", { href: path(["plans", run.run, "report"]), target: "_blank" }, "Report"))),
 h("ol.groups", groups.map((group, at) => h("li", h("span.quiet", `Group ${at + 1}: `), group.map((name, nth) => [nth > 0 && ", ", serverLink(name)])))),
 run && [
  quiet(`Last run: ${run.drill ? "drill" : "failover"} by ${run.by}, `, time(run.began_millis)),
  run.waits_for && h("div.card.trouble", note("attention", "Waits for a person: ", run.waits_for), operator() && doing("It is done, go on", () => change("POST", ["plans", name, "continue"], undefined, "It goes on."), again, loud)),
  run.trouble && h("p.bad-words", icon("bad"), " ", run.trouble),
  h("details", { open: going || run.state === "waits" }, h("summary", "What was done"),
   h("ol.plain-list", run.entries.map(({ what, took_millis: took, failed }) => h("li", icon(failed ? "bad" : took ? "good" : "working"), " ", what, h("span.quiet", took ? `, ${millis(took)}` : ", under way"), failed && `: ${failed}`))),
   run.orders.length > 0 && h("p", "Orders: ", run.orders.map((order, at) => [at > 0 && ", ", orderLink(order.order, order.server)])))]);
}

const EXAMPLE = `# Groups one after the other, the servers of a group at once.
name = "everything"

[[group]]
name = "databases"
server = [{ name = "db1" }]
after = [{ manual = "Look whether the database answers." }]

[[group]]
name = "web"
server = [{ name = "web1" }, { name = "web2" }]
`;

const planForm = (plan) => ({
 title: plan ? `Plan ${plan.name}` : "A new plan", submit: "Save", wide: true,
 fields: field("text", "The plan (TOML)", { rows: 16, value: plan?.text || EXAMPLE, field: "" }),
 send: async ({ text }) => {
  const name = text.match(/^name *= *"([^"]+)"/m)?.[1];
  if (!name) throw wrong("", 'A plan needs a name: name = "everything".');
  if (name !== plan?.name && (await get("plans")).some((one) => one.name === name)) throw wrong("", `There is a plan ${name} already: edit that one, or take another name.`);
  return change("PUT", ["plans", name], text, "The plan is saved.");
 },
});

const BELONGS = { needed: "an order that stands", orphan: "nothing: it can go" };

function sweepCard() {
 const place = live();
 const look = async () => {
  fill(place, waiting("The subscriptions are asked…"));
  const { found } = await attempt(async () => (await call("POST", path(["sweep"]), { remove: false })).value) || {};
  const orphans = found?.filter((one) => one.belongs === "orphan");
  fill(place, found && [table("Found in Azure", ["What", "Order", "Belongs to"], found.map((one) => [mono(one.id), mono(one.order), BELONGS[one.belongs] || "somebody else, perhaps"]), "Nothing of ours stands in Azure."),
   orphans.length > 0 && asking(`Remove ${orphans.length}`, {
    title: "Remove what belongs to no order", submit: "Remove", typed: "remove", words: h("ul", orphans.map((one) => h("li.mono.wrap", one.id))), send: () => change("POST", ["sweep"], { remove: true }),
   }, (gone) => {
    if (!gone.removed) return;
    toast(`Removed: ${gone.removed.length}.`);
    look();
   })]);
 };
 return card("Left in Azure", { tools: button("Look for leftovers", look) }, quiet("Machines, disks and networks that carry our tags and belong to no order cost money and do nothing."), place);
}
