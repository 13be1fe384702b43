// A server is added: one line to run on it, good for a while; and it is shown as soon as it comes in.

import { get, may } from "./api.js";
import { fill, h, icon, toast, quiet, mono } from "./dom.js";
import { change, field, form } from "./form.js";
import { card, copier, head, health, table, waiting, serverLink } from "./parts.js";
import { exactly, now, seconds } from "./words.js";

/** The view. */
export async function show() {
  const before = new Set((await get("overview")).servers.map((row) => row.server));
  const place = h("div", { "aria-live": "polite" });
  const came = h("div", { "aria-live": "polite" });
  let timer = null;
  const seen = new Map();
  const line = (install) => {
    const left = h("span");
    const tick = () => {
      const rest = (install.ends_millis - now()) / 1000;
      fill(left, rest > 0 ? `Good for one server and ${seconds(rest)} more, until ${exactly(install.ends_millis)}.` : "Its time is over: make another.");
    };
    clearInterval(timer);
    timer = setInterval(tick, 1000);
    tick();
    const code = h("pre.command", { tabindex: "0", "aria-label": "The line to run" }, install.line);
    fill(place, card("Run this on the server, as root", { tools: copier("Copy", () => install.line) }, code, quiet(left),
      h("p.waiting", icon("working"), " Waiting for the server to come in. It shows up here by itself.")), came);
  };
  const node = h("div", head("Add a server", "Any Linux from kernel 5.10 on: no reboot, no kernel module."),
    card("A line to run", {}, form({
      label: "A line to run", submit: "Make the line",
      fields: field("name", "What it is to be called", { autocapitalize: "off", hint: "Empty: as the server calls itself." }),
      send: (held) => change("POST", ["install"], { name: held.name.trim() || null }),
      then: (install) => { if (install) line(install); },
    })), place, networkCard());
  return {
    title: "Add a server",
    element: may("operator") ? node : h("p", "An operator may do this."),
    live: (kind, data) => {
      if (kind !== "overview") return;
      for (const row of data.servers) {
        if (before.has(row.server)) continue;
        const known = seen.get(row.server);
        if (!known) toast(`${row.name} has come in.`);
        if (known === row.health) continue;
        seen.set(row.server, row.health);
        const item = h("div.card.came", { "data-server": row.server }, health(row.health), h("h2", serverLink(row.name), " has come in"), h("p", row.cause || "It is protected from now on."));
        const old = came.querySelector(`[data-server="${CSS.escape(row.server)}"]`);
        if (old) old.replaceWith(item);
        else came.append(item);
        if (!came.isConnected) place.append(came);
      }
    },
    close: () => clearInterval(timer),
  };
}

function networkCard() {
  const place = h("div", { "aria-live": "polite" });
  return card("Found on the network", {}, quiet("Machines that answer by SSH. Nothing is done to them: log in there and run the line."), form({
    label: "Look at a network", submit: "Look",
    fields: field("network", "Network", { placeholder: "192.0.2.0/24", hint: "An address and its prefix, /22 at the most." }),
    send: async (held) => {
      fill(place, waiting("It is looked at; that takes some seconds…"));
      try {
        return await get("seen", { network: held.network.trim() });
      } catch (problem) {
        place.replaceChildren();
        throw problem;
      }
    },
    then: (found) => fill(place, table("Found", ["Address", "Name", "Says", "Protected"], found.map((one) => [mono(one.address), one.name || "–", mono(one.says),
      one.server ? serverLink(one.server) : "no"]), "Nobody there answers by SSH.")),
  }), place);
}
