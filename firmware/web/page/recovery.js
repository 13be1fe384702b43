// Drills, failovers and plans: given here, followed here; and what was left standing in Azure.

import { call, get, may, path } from "./api.js";
import { Keyed, fill, h, icon, text, toast, quiet, mono } from "./dom.js";
import { attempt, change, confirm, dialog, field, form } from "./form.js";
import { orderDialog } from "./ordering.js";
import { button, card, head, state, table, time, waiting, serverLink, orderLink, frame, rows, row, cell } from "./parts.js";
import { millis, named } from "./words.js";

/** The view. */
export async function show() {
  const [orders, plans] = await Promise.all([get("orders"), get("plans")]);
  const body = rows();
  const known = new Map(orders.map((order) => [order.order, order]));
  const none = quiet("Nothing was ordered yet. A drill proves that a server can be recovered, and touches nothing.");
  const list = new Keyed(body, (order) => order.order, makeRow, updateRow);
  const whole = frame("Orders", ["Server", "What", "State", "Ordered", "By", "RTO"], body);
  const draw = () => {
    const sorted = [...known.values()].sort((a, b) => b.ordered_millis - a.ordered_millis);
    list.set(sorted);
    whole.hidden = !sorted.length;
    none.hidden = sorted.length > 0;
  };
  draw();
  const planPlace = h("div");
  let planned = "";
  const drawPlans = (all) => {
    const key = JSON.stringify(all);
    if (key === planned) return;
    planned = key;
    fill(planPlace, all.length ? all.map((plan) => planCard(plan, refreshPlans)) : quiet("No plan yet. A plan recovers many servers in order, with waits and manual steps."));
  };
  const refreshPlans = () => get("plans").then(drawPlans, () => {});
  drawPlans(plans);
  const timer = setInterval(() => { if (!document.hidden) refreshPlans(); }, 5000);
  return {
    title: "Recovery",
    element: h("div", {},
      head("Recovery", "Drills, failovers and plans. Each step is told as it happens, and goes on whatever becomes of this page.",
        may("operator") && [button("Order a drill", () => orderDialog({ kind: "drill" }), { class: "primary" }), button("Order a failover", () => orderDialog({ kind: "failover" }), { class: "danger" })]),
      card("Orders", {}, none, whole),
      card("Plans", { tools: may("administrator") && button("Write a plan", () => editPlan(null, refreshPlans)) }, planPlace),
      may("operator") ? sweepCard() : null),
    live: (kind, data) => {
      if (kind === "order") {
        known.set(data.order, data);
        draw();
      }
    },
    refresh: async () => {
      for (const order of await get("orders")) known.set(order.order, order);
      draw();
      await refreshPlans();
    },
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
  if (held.state !== order.state) {
    held.state = order.state;
    fill(held.standing, state(order.state));
  }
  const at = order.steps.find((step) => step.standing === "begun" || step.standing === "failed");
  text(held.step, order.trouble || (at && order.running ? `${named(at.step)}, ${order.steps.filter((step) => step.standing === "done").length} of ${order.steps.length} steps done` : ""));
  text(held.rto, order.up ? millis(order.rto_millis) : "–");
}

function planCard(plan, again) {
  const run = plan.last_run;
  const going = run && ["open", "clearing"].includes(run.state);
  const begin = (drill) => async () => {
    const answer = drill
      ? await attempt(() => change("POST", ["plans", plan.name, "run"], { drill, confirm: "" }, `The drill of ${plan.name} has begun.`))
      : await confirm({
        title: `Fail over by the plan ${plan.name}`, submit: "Fail over", typed: plan.name,
        words: ["Every server of the plan is started in Azure, group by group:", h("p", plan.groups.map((group) => group.join(", ")).join(" → "))],
        send: (held) => change("POST", ["plans", plan.name, "run"], { drill, confirm: held.confirm }, `The failover by ${plan.name} has begun.`),
      });
    if (answer) again();
  };
  return h("article.plan", h("div.card-head", h("h3", plan.name, " ", run ? state(run.state) : ""),
    may("operator") ? h("div.tools", going ? null : [button("Drill it", begin(true)), button("Fail over", begin(false), { class: "danger" })],
      may("administrator") ? button("Edit", () => editPlan(plan, again)) : null,
      run ? h("a.button", { href: path(["plans", run.run, "report"]), target: "_blank", rel: "noopener" }, "Report") : null) : null),
  h("ol.groups", plan.groups.map((group, at) => h("li", h("span.quiet", `Group ${at + 1}: `), group.map((name, nth) => [nth ? ", " : "", serverLink(name)])))),
  run ? [
    quiet(`Last run: ${run.drill ? "drill" : "failover"} by ${run.by}, `, time(run.began_millis)),
    run.waits_for ? h("div.card.trouble", h("p", icon("attention"), " Waits for a person: ", run.waits_for), may("operator") ? button("It is done, go on", () => attempt(async () => {
      await change("POST", ["plans", plan.name, "continue"], undefined, "It goes on.");
      again();
    }), { class: "primary" }) : null) : null,
    run.trouble ? h("p.bad-words", icon("bad"), " ", run.trouble) : null,
    h("details", { open: going }, h("summary", "What was done"),
      h("ol.plain-list", run.entries.map((entry) => h("li", icon(entry.failed ? "bad" : entry.took_millis ? "good" : "working"), " ", entry.what, h("span.quiet", entry.took_millis ? `, ${millis(entry.took_millis)}` : ", under way"), entry.failed ? `: ${entry.failed}` : ""))),
      run.orders.length ? h("p", run.orders.map((order, at) => [at ? ", " : "Orders: ", orderLink(order.order, order.server)])) : null),
  ] : null);
}

const EXAMPLE = `# Groups are recovered one after the other, the servers of a group at once.
[[group]]
servers = ["db1"]

[[group]]
servers = ["web1", "web2"]
`;

async function editPlan(plan, again) {
  const done = await dialog(plan ? `Plan ${plan.name}` : "A new plan", (close) => form({
    label: "Plan",
    submit: "Save",
    cancel: () => close(),
    fields: [plan ? null : field("name", "Name"),
      field("text", "The plan (TOML)", { kind: "textarea", rows: 16, class: "mono", value: plan ? plan.text : EXAMPLE })],
    send: (held) => {
      const name = plan ? plan.name : held.name.trim();
      if (!name) throw Object.assign(new Error("A plan needs a name."), { field: "/name" });
      return change("PUT", ["plans", name], held.text);
    },
    then: () => { toast("The plan is saved."); close(true); },
  }), { wide: true });
  if (done) again();
}

function sweepCard() {
  const place = h("div", { "aria-live": "polite" });
  const look = async () => {
    fill(place, waiting("The subscriptions are asked…"));
    const found = await attempt(async () => (await call("POST", path(["sweep"]), { remove: false })).value);
    if (!found) {
      place.replaceChildren();
      return;
    }
    const orphans = found.found.filter((one) => one.belongs === "orphan");
    fill(place, table("Found in Azure", ["What", "Order", "Belongs to"], found.found.map((one) => [mono(one.id), mono(one.order),
      one.belongs === "needed" ? "an order that stands" : one.belongs === "orphan" ? "nothing: it can go" : "somebody else, perhaps"]), "Nothing of ours stands in Azure."),
    orphans.length ? button(`Remove ${orphans.length}`, async () => {
      const gone = await confirm({
        title: "Remove what belongs to no order", submit: "Remove", typed: "remove", words: h("ul", orphans.map((one) => h("li.mono.wrap", one.id))),
        send: () => change("POST", ["sweep"], { remove: true }),
      });
      if (gone?.removed) {
        toast(`Removed: ${gone.removed.length}.`);
        look();
      }
    }, { class: "danger" }) : null);
  };
  return card("Left in Azure", { tools: button("Look for leftovers", look) }, quiet("Machines, disks and networks that carry our tags and belong to no order cost money and do nothing."), place);
}
