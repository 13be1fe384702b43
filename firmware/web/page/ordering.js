// Orders are given here: drill, failover, planned failover, with what they would make and take beforehand.

import { call, get, path } from "./api.js";
import { fill, h, icon, mono } from "./dom.js";
import { change, dialog, field, form, refuse } from "./form.js";
import { facts, table, waiting } from "./parts.js";
import { exactly, millis, named } from "./words.js";

const WORDS = {
  drill: "The server is started in Azure, in a network of its own, and taken away again once it has proven that it runs. The server itself is not touched.",
  failover: "The server is started in Azure for good. Whatever its original wrote after the point is not in it.",
  planned: "The server is drained first: its last point is its disks, nothing is lost. Then it is started in Azure. It stops writing.",
};

/** What an order would make and take. */
function estimate(found) {
  const steps = (found.steps || []).map((step) => [named(step.step), millis(step.millis), step.from || ""]);
  return h("div.estimate",
    facts(["Takes about", found.total_millis === undefined ? "not known" : millis(found.total_millis)], found.point ? ["Point", mono(found.point)] : null),
    table("What it makes", ["Makes", "Name", "Detail"], (found.makes || []).map((made) => [made.what, mono(made.name), made.detail || ""]), "It makes nothing."),
    steps.length ? h("details", h("summary", "Step by step"), table("Steps", ["Step", "About", "Reckoned from"], steps)) : null,
    (found.notes || []).length ? h("ul.plain-list", found.notes.map((note) => h("li", icon("attention"), " ", note))) : null);
}

/** Asks for an order, and goes to it once it is given. Without a server, it is chosen in the dialog. */
export async function orderDialog({ server, kind = "drill", point = "latest", at }) {
  const servers = server ? [server] : (await get("overview")).servers.map((row) => row.name);
  const answer = await dialog(named(kind), (close) => {
    const chosen = point !== "latest" && point !== "latest-app";
    const place = h("div", { "aria-live": "polite" });
    const explain = h("p");
    const confirmField = h("div");
    const fields = [
      server ? h("p", "Server ", h("strong", server), at ? `, as of ${exactly(at)}` : "") : field("server", "Server", { kind: "select", options: servers }),
      field("kind", "What", { kind: "select", value: kind, options: ["drill", "failover", "planned"].map((one) => [one, named(one)]) }),
      chosen ? null : field("point", "Point", { kind: "select", value: point, options: [["latest", "The newest"], ["latest-app", "The newest that is application-consistent"]] }),
      field("keep", "Leave it up until it is taken back by hand", { kind: "checkbox" }),
      confirmField,
    ];
    const asked = (held) => ({
      server: server || held.server, kind: held.kind, point: chosen ? point : held.point, keep: held.kind === "drill" && held.keep, confirm: held.confirm || "",
    });
    const node = form({
      label: "Order",
      submit: "Order it",
      fields,
      cancel: () => close(),
      send: async (held) => {
        const wanted = asked(held);
        if (held.kind !== "drill" && held.confirm !== wanted.server) {
          throw Object.assign(new Error(`This is not the name: type ${wanted.server}, letter by letter.`), { field: "/confirm" });
        }
        return change("POST", ["orders"], wanted);
      },
      then: (order) => close(order || true),
    });
    const adapt = () => {
      const held = Object.fromEntries(new FormData(node));
      explain.textContent = WORDS[held.kind];
      node.elements.keep.closest(".field").hidden = held.kind !== "drill";
      if (held.kind === "planned" && !chosen) node.elements.point.closest(".field").hidden = true;
      else if (!chosen) node.elements.point.closest(".field").hidden = false;
      const name = server || held.server;
      const typed = node.elements.confirm?.value || "";
      fill(confirmField, held.kind === "drill" ? null
        : field("confirm", ["Type ", h("code", name), " to go on"], { value: typed,  }));
      node.querySelector("[type=submit]").className = held.kind === "drill" ? "primary" : "danger";
    };
    node.addEventListener("change", (event) => { if (["kind", "server"].includes(event.target.name)) adapt(); });
    node.querySelector(".buttons").append(h("button", {
      type: "button",
      onclick: async () => {
        fill(place, waiting("It is reckoned…"));
        try {
          const held = Object.fromEntries(new FormData(node));
          fill(place, estimate((await call("POST", path(["orders", "estimate"]), asked({ ...held, keep: Boolean(held.keep) }))).value));
        } catch (problem) {
          place.replaceChildren();
          refuse(node, problem);
        }
      },
    }, "What would it make?"));
    adapt();
    return [explain, node, place];
  }, { wide: true });
  if (answer?.order) location.hash = `#/order/${encodeURIComponent(answer.order)}`;
}
