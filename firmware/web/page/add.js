// A server is added: one line to run on it, good for a while; and it is shown as soon as it comes in.

import { admin, get, operator } from "./api.js";
import { card, copier, fill, h, head, health, icon, live, mono, quiet, serverLink, table, toast, waiting } from "./dom.js";
import { change, field, form } from "./form.js";
import { exactly, now, seconds } from "./words.js";

export async function show() {
 if (!operator()) return { title: "Add a server", element: h("p", "An operator may do this.") };
 const before = new Set((await get("overview")).servers.map((row) => row.server));
 const [place, came] = [live(), live()];
 const seen = new Map();
 let timer = null;
 const line = (install) => {
  const left = quiet();
  const tick = () => {
   const rest = (install.ends_millis - now()) / 1000;
   left.textContent = rest > 0 ? `Good for one server and ${seconds(rest)} more, until ${exactly(install.ends_millis)}.` : "Its time is over: make another.";
  };
  clearInterval(timer);
  timer = setInterval(tick, 1000);
  tick();
  fill(place, card("Run this on the server, as root", { tools: copier("Copy", () => install.line) }, h("pre.command", { tabindex: "0", label: "The line to run" }, install.line), left,
   h("p.waiting", icon("working"), " Waiting for the server to come in. It shows up here by itself.")));
 };
 return {
  title: "Add a server",
  element: h("div", head("Add a server", "Any Linux from kernel 5.10 on: no reboot, no kernel module."),
   card("A line to run", {}, form({
    label: "A line to run", submit: "Make the line",
    fields: [field("name", "What it is to be called", { autocapitalize: "off", hint: "Empty: as the server calls itself." }), admin() && field("readmit", "Although it was revoked", { value: false })],
    send: ({ name, readmit }) => change("POST", ["install"], { name: name || null, readmit }),
    then: (install) => { if (install) line(install); },
   })), place, came, networkCard()),
  live: (kind, data) => {
   if (kind !== "overview") return;
   for (const row of data.servers) {
    const known = seen.get(row.server);
    if (before.has(row.server) || known?.health === row.health) continue;
    if (!known) toast(`${row.name} has come in.`);
    const item = h("div.card", health(row.health), h("h2", serverLink(row.name), " has come in"), h("p", row.cause || "It is protected from now on."));
    if (known) known.item.replaceWith(item);
    else came.append(item);
    seen.set(row.server, { health: row.health, item });
   }
  },
  close: () => clearInterval(timer),
 };
}

function networkCard() {
 const place = live();
 return card("Found on the network", {}, quiet("Machines that answer by SSH. Nothing is done to them: log in there and run the line."), form({
  label: "Look at a network", submit: "Look",
  fields: field("network", "Network", { placeholder: "192.0.2.0/24", hint: "An address and its prefix, /22 at the most." }),
  send: async ({ network }) => {
   fill(place, waiting("It is looked at; that takes some seconds…"));
   return get("seen", { network }).catch((problem) => {
    fill(place);
    throw problem;
   });
  },
  then: (found) => fill(place, table("Found", ["Address", "Name", "Says", "Protected"], found.map((one) => [mono(one.address), one.name || "–", mono(one.says),
   one.server ? serverLink(one.server) : "no"]), "Nobody there answers by SSH.")),
 }), place);
}
