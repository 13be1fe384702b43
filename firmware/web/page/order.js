// Orders: given here, and followed step by step, with what each proved and what comes next.

import { call, get, operator, path } from "./api.js";
import { button, card, facts, fill, h, health, icon, live, loud, mono, more, note, notes, quiet, serverLink, state, strong, table, time, waiting } from "./dom.js";
import { asking, change, dialog, doing, field, form, refuse, typedName, values } from "./form.js";
import { exactly, millis, named } from "./words.js";

const STANDING = { begun: "working", done: "good", failed: "bad" };

export async function show({ parts: [id] }) {
 let order = await get("orders", id);
 const node = h("div");
 const set = (next) => {
  if (node.firstChild && JSON.stringify(order) === JSON.stringify(next)) return;
  const open = node.querySelector("details.console")?.open ?? true;
  order = next;
  fill(node, draw(order, set, open));
 };
 set(order);
 const again = () => get("orders", id).then(set, () => {});
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

function draw(order, set, open) {
 const { server: name, state: at, running, up, screenshot: shot, console } = order;
 const drill = order.kind === "drill";
 const over = ["committed", "cancelled", "drilled", "drilled_badly"].includes(at);
 const send = (verb, done) => (held = {}) => change("POST", ["orders", order.order, verb], { confirm: held.confirm || "" }, done);
 const next = (answer) => answer.order && set(answer);
 return [
  h("div.head", h("div", h("p.crumb", h("a", { href: "#/recovery" }, "Recovery")),
   h("h1", `${named(order.kind)} of ${name} `, state(at)),
   h("p.lead", "Ordered by ", order.by, " ", time(order.ordered_millis))),
  h("div.tools", operator() && [
   !running && !over && at !== "up" && doing("Go on", send("resume", "It goes on."), next, loud),
   at === "up" && !drill && asking("Commit", { title: `Commit the failover of ${name}`, words: "It is kept: what was prepared for taking it back is removed.", typed: name, send: send("commit", "The failover is being committed.") }, next, loud),
   !over && at !== "cancelling" && asking(drill ? "Take it back" : "Cancel the failover", {
    typed: name, words: drill ? "What it made in Azure is removed." : "What runs in Azure is removed, with all that was written there. The original goes on.", send: send("cancel", "It is being taken back."),
   }, next),
  ], h("a.button", { href: path(["orders", order.order, "report"]), target: "_blank" }, "Report to print"))),
  order.trouble && h("div.card.trouble", { role: "alert" }, note("bad", order.trouble)),
  h("div.columns",
   card("Steps", {}, h("ol.steps", order.steps.map(({ step, standing, took_millis: took }) => h("li", { class: standing, "aria-current": standing === "begun" && "step" },
    icon(STANDING[standing] || "off"), h("span.step-name", named(step)), h("span.unseen", `: ${named(standing)}`),
    h("span.quiet", took ? millis(took) : standing === "begun" && "under way"))))),
   card("Evidence", {},
    facts(["Came up", up === null ? "not known yet" : health(up ? "good" : "bad", up ? "yes" : "no")],
     ["RTO", up ? millis(order.rto_millis) : "–"],
     ["Point", order.point_millis ? time(order.point_millis) : order.point || "the newest"],
     ["Address", order.address || "–"], ["Server", serverLink(name)], ["Order", mono(order.order)]),
    shot && /^data:image\/(png|jpeg|bmp|webp);base64,/.test(shot) ? h("figure.shot", h("img", { src: shot, alt: `The screen of ${name} as it ran in Azure` })) : quiet("No picture of its screen yet."),
    notes("attention", order.notes))),
  console && h("details.card.console", { open }, h("summary", "The end of its console"), h("pre", { tabindex: "0" }, console)),
 ];
}

const WORDS = {
 drill: "The server is started in Azure, in a network of its own, and taken away again once it has proven that it runs. The server itself is not touched.",
 failover: "The server is started in Azure for good. Whatever its original wrote after the point is not in it.",
 planned: "The server is drained first: its last point is its disks, nothing is lost. Then it is started in Azure. It stops writing.",
};

const estimate = ({ total_millis: total, point, makes = [], steps = [], notes: remarks = [] }) => h("div.estimate",
 facts(["Takes about", total === undefined ? "not known" : millis(total)], point && ["Point", mono(point)]),
 table("What it makes", ["Makes", "Name", "Detail"], makes.map((made) => [made.what, mono(made.name), made.detail]), "It makes nothing."),
 steps.length > 0 && more("Step by step", table("Steps", ["Step", "About", "Reckoned from"], steps.map((step) => [named(step.step), millis(step.millis), step.from]))),
 notes("attention", remarks));

export async function orderDialog({ server, kind, point, at }) {
 const servers = server ? [server] : (await get("overview")).servers.map((row) => row.name);
 const answer = await dialog(named(kind), (close) => {
  const [explain, place, confirm] = [h("p"), live(), h("div")];
  const asked = (held) => ({
   server: server || held.server, kind: held.kind, point: point || held.point, keep: held.kind === "drill" && held.keep, confirm: held.confirm || "",
  });
  const node = form({
   label: "Order",
   submit: "Order it",
   fields: [
    server ? h("p", "Server ", strong(server), at && `, as of ${exactly(at)}`) : field("server", "Server", { options: servers }),
    field("kind", "What", { value: kind, options: Object.keys(WORDS).map((one) => [one, named(one)]) }),
    !point && field("point", "Point", { options: [["latest", "The newest"], ["latest-app", "The newest that is application-consistent"]] }),
    field("keep", "Leave it up until it is taken back by hand", { value: false }),
    confirm,
   ],
   cancel: close,
   send: (held) => {
    const wanted = asked(held);
    if (held.kind !== "drill") typedName(held, wanted.server);
    return change("POST", ["orders"], wanted);
   },
   then: (order) => close(order || true),
  });
  const adapt = () => {
   const held = values(node);
   const show = (name, shown) => { if (node.elements[name]) node.elements[name].closest(".field").hidden = !shown; };
   explain.textContent = WORDS[held.kind];
   show("keep", held.kind === "drill");
   show("point", held.kind !== "planned");
   fill(confirm, held.kind !== "drill" && field("confirm", ["Type ", h("code", server || held.server), " to go on"], { value: held.confirm }));
   node.go.className = held.kind === "drill" ? "primary" : "danger";
  };
  node.addEventListener("change", ({ target }) => { if (["kind", "server"].includes(target.name)) adapt(); });
  node.buttons.append(button("What would it make?", async () => {
   fill(place, waiting("It is reckoned…"));
   try {
    fill(place, estimate((await call("POST", path(["orders", "estimate"]), asked(values(node)))).value));
   } catch (problem) {
    fill(place);
    refuse(node, problem);
   }
  }));
  adapt();
  return [explain, node, place];
 }, { wide: true });
 if (answer?.order) location.hash = `#/order/${encodeURIComponent(answer.order)}`;
}
