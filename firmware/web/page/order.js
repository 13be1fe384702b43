// One order: its steps as they happen, what it proved, and what comes next.

import { get, may, path } from "./api.js";
import { fill, h, icon, quiet, mono } from "./dom.js";
import { attempt, change, confirm } from "./form.js";
import { button, card, facts, health, state, time, note, serverLink } from "./parts.js";
import { millis, named } from "./words.js";

const STANDING = { waits: "off", begun: "working", done: "good", failed: "bad" };

/** The view; the address names the order. */
export async function show({ parts: [id] }) {
  let order = await get("orders", id);
  const node = h("div");
  let console = null;
  const set = (next) => {
    const before = JSON.stringify(order);
    order = next;
    if (node.firstChild && before === JSON.stringify(next)) return;
    console = node.querySelector("details.console")?.open ?? console;
    fill(node, draw(order, set, console));
  };
  set(order);
  const again = () => get("orders", id).then(set, () => {});
  // Whatever the stream leaves out while somebody watches.
  const timer = setInterval(() => { if (order.running) again(); }, 5000);
  return {
    title: `${named(order.kind)} of ${order.server}`,
    element: node,
    // The stream leaves out what is large: console and screen are asked for once something has come to its end.
    live: (kind, data) => {
      if (kind !== "order" || data.order !== id) return;
      const ended = data.state !== order.state || data.running !== order.running || data.up !== order.up;
      set({ ...data, console: order.console, screenshot: order.screenshot });
      if (ended) again();
    },
    refresh: again,
    close: () => clearInterval(timer),
  };
}

function steps(order) {
  return h("ol.steps", order.steps.map((step) => h("li", { class: step.standing, "aria-current": step.standing === "begun" ? "step" : null },
    icon(STANDING[step.standing] || "off"), h("span.step-name", named(step.step)),
    h("span.unseen", `: ${named(step.standing)}`),
    h("span.quiet", step.took_millis ? millis(step.took_millis) : step.standing === "begun" ? "under way" : ""))));
}

function draw(order, set, open) {
  const where = (verb) => ["orders", order.order, verb];
  const ask = (title, words, submit, verb, done, typed, danger = true) => async () => {
    const answer = await confirm({ title, words, submit, typed, danger, send: (held) => change("POST", where(verb), { confirm: held.confirm || "" }, done) });
    if (answer?.order) set(answer);
  };
  const name = order.server;
  const drill = order.kind === "drill";
  const over = ["committed", "cancelled", "drilled", "drilled_badly"].includes(order.state);
  const tools = may("operator") ? [
    !order.running && !over && order.state !== "up" ? button("Go on", async () => { const next = await attempt(() => change("POST", where("resume"), {}, "It goes on.")); if (next) set(next); }, { class: "primary" }) : null,
    order.state === "up" && !drill ? button("Commit", ask(`Commit the failover of ${name}`, "It is kept: what was prepared for taking it back is removed.", "Commit", "commit", "The failover is being committed.", name), { class: "primary" }) : null,
    !over && order.state !== "cancelling" ? button(drill ? "Take it back" : "Cancel", ask(drill ? `Take back the drill of ${name}` : `Cancel the failover of ${name}`,
      drill ? "What it made in Azure is removed." : "What runs in Azure is removed, with all that was written there. The original goes on.", drill ? "Take it back" : "Cancel the failover", "cancel", "It is being taken back.", drill ? undefined : name), { class: drill ? "" : "danger" }) : null,
  ] : null;
  const shot = order.screenshot && /^data:image\/(png|jpeg|bmp|webp);base64,/.test(order.screenshot) ? order.screenshot : null;
  return [
    h("div.head", h("div", h("p.crumb", h("a", { href: "#/recovery" }, "Recovery")),
      h("h1", `${named(order.kind)} of ${name} `, state(order.state)),
      h("p.lead", "Ordered by ", order.by, " ", time(order.ordered_millis))),
    h("div.tools", tools, h("a.button", { href: path(["orders", order.order, "report"]), target: "_blank", rel: "noopener" }, "Report to print"))),
    order.trouble ? h("div.card.trouble", { role: "alert" }, note("bad", order.trouble)) : null,
    h("div.columns",
      card("Steps", {}, steps(order)),
      card("Evidence", {},
        facts(["Came up", order.up === null ? "not known yet" : health(order.up ? "good" : "bad", order.up ? "yes" : "no")],
          ["RTO", order.up ? millis(order.rto_millis) : "–"],
          ["Point", order.point_millis ? time(order.point_millis) : order.point || "the newest"],
          ["Address", order.address || "–"], ["Server", serverLink(name)],
          ["Order", mono(order.order)]),
        shot ? h("figure.shot", h("img", { src: shot, alt: `The screen of ${name} as it ran in Azure` })) : quiet("No picture of its screen yet."),
        order.notes.length ? h("ul.plain-list", order.notes.map((note) => h("li", icon("attention"), " ", note))) : null)),
    order.console ? h("details.card.console", { open: open ?? true }, h("summary", "The end of its console"), h("pre", { tabindex: "0" }, order.console)) : null,
  ];
}
