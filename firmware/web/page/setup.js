// First run, one question after the other; later the same questions, one at a time.

import { call, get, may, path, session } from "./api.js";
import { calendarEditor } from "./calendar.js";
import { fill, h, icon, toast, quiet, mono, strong } from "./dom.js";
import { change, field, form, refuse } from "./form.js";
import { passwordFields, same } from "./login.js";
import { button, card, copier, facts, head, health, table, time, waiting, note } from "./parts.js";
import { count, millis, seconds } from "./words.js";

const STAGES = [["network", "Network"], ["vault", "Vault"], ["key", "Recovery key"], ["time", "Time and limits"]];

/** The form of whoever stands before the console; `done` is called once somebody is in. */
export function pairing(done) {
  return form({
    label: "Pair",
    submit: "Begin",
    fields: [
      field("code", "The code on the machine's console", { autocomplete: "one-time-code", autocapitalize: "characters", hint: "Blanks, dashes and small letters do no harm." }),
      field("name", "Your name here", { value: "admin", autocomplete: "username" }),
      passwordFields("A password"),
    ],
    send: async (held) => {
      same(held);
      session.current = (await call("POST", path(["setup", "pair"]), { code: held.code, name: held.name.trim(), password: held.password }, { quiet: true })).value;
    },
    then: done,
  });
}

/** The view. */
export async function show({ refresh }) {
  if (!may("administrator")) return { title: "Setup", element: h("p", "An administrator may do this.") };
  const view = await get("setup");
  const node = h("div");
  const draw = (next) => fill(node, next.stage === "done" ? settled(next, refresh) : asked(next, draw));
  draw(view);
  return { title: view.stage === "done" ? "Setup" : "First run", element: node };
}

function asked(view, draw) {
  const at = STAGES.findIndex(([stage]) => stage === view.stage);
  const again = async () => {
    const next = await get("setup");
    draw(next);
    if (next.stage === "done") {
      toast("All is set. Now add the first server.");
      location.hash = "#/add";
    } else document.querySelector("#main h2")?.closest(".card").querySelector("input, button, select")?.focus();
  };
  const forms = { network: networkForm, vault: vaultForm, key: keyForm, time: timeForm };
  const make = forms[view.stage] || (() => h("p", "This page does not know the stage ", view.stage, "."));
  return [
    head("First run", "A few questions, and the first server can come."),
    h("ol.stages", STAGES.map(([stage, name], nth) => h("li", { class: nth < at ? "done" : nth === at ? "now" : "", "aria-current": nth === at ? "step" : null }, nth < at ? icon("good") : h("span.number", { "aria-hidden": "true" }, nth + 1), " ", name, nth < at ? h("span.unseen", ": done") : null))),
    card(STAGES[at]?.[1] || view.stage, {}, make(view, again)),
  ];
}

function settled(view, refresh) {
  const set = view.set;
  return [
    head("Setup", "What first run asked, to be changed."),
    card("Network", {}, networkForm(view, refresh)),
    set.vault ? card("Vault", {}, facts(["Place", mono(set.vault.place)], ["Opened by", set.vault.credential || "nothing is needed"], ["Recovery key", health(set.vault.key_confirmed ? "good" : "attention", set.vault.key_confirmed ? "was typed back" : "nobody has typed it back")]),
      set.vault.key_confirmed ? null : keyForm(view, refresh)) : null,
    card("Time and limits", {}, timeForm(view, refresh)),
    card("Certificate", {}, certificateForm(view, refresh)),
  ];
}

function networkForm(view, again) {
  const network = view.set.network;
  const put = (body, done) => change("PUT", ["setup", "network"], body, done);
  const place = h("div", {},
    table("Links", ["Link", "Hardware address", "Cable", "Addresses"], network.links.map((link) => [strong(link.name), mono(link.mac), health(link.carrier ? "good" : "bad", link.carrier ? "in" : "none"), mono(link.addresses.join(", ") || "none")]), "No link is seen."),
    facts(["Names answered by", network.dns.join(", ") || "nobody"], ["Ways out", network.gateways.join(", ") || "none"]));
  const trial = network.trial_seconds_left;
  if (trial !== null && trial !== undefined) {
    place.append(h("div.card.trouble", h("p", icon("attention"), ` These settings are tried, and taken back in ${seconds(trial)} unless they are confirmed.`),
      form({ label: "Confirm", submit: "Keep these settings", send: () => put({ confirm: true }, "The settings are kept."), then: again })));
  }
  if (view.stage === "network") place.append(form({ label: "Keep", submit: "Keep it as it is", send: () => put({ keep: true }), then: again }));
  if (!network.changeable) place.append(quiet("Another system keeps this machine's network."));
  else {
    const list = (value) => value.split(/[\s,]+/).filter(Boolean);
    place.append(h("details", h("summary", "Change a link"), form({
      label: "Change a link", submit: "Try it for a minute",
      fields: h("div.grid",
        field("name", "Link", { kind: "select", options: network.links.map((link) => link.name), field: "/link/name" }),
        field("addresses", "Addresses with prefix", { placeholder: "192.0.2.10/24", hint: "Empty: DHCP.", field: "/link/addresses" }),
        field("gateways", "Gateway", { placeholder: "192.0.2.1", field: "/link/gateways" }), field("dns", "DNS servers", { hint: "Three at most; empty: as DHCP says.", field: "/link/dns" })),
      send: (held) => put({ link: { name: held.name, addresses: list(held.addresses), gateways: list(held.gateways), dns: list(held.dns) } }, "It is tried. Come back by the new address and confirm."),
      then: again,
    })), h("details", h("summary", "All of it, as text"), form({
      label: "Network as text", submit: "Try it for a minute",
      fields: field("settings", "The table [network] of lifeboat.toml", { kind: "textarea", value: network.settings, class: "mono", rows: 10 }),
      send: (held) => put({ settings: held.settings }, "It is tried. Come back by the new address and confirm."),
      then: again,
    })));
  }
  return place;
}

const CREDENTIALS = [["managed", "None, or this machine's own identity in Azure"], ["account_key", "The storage account's key"], ["sas", "A shared access signature"], ["connection_string", "A connection string"],
  ["client_secret", "A registered application with a secret"], ["client_certificate", "A registered application with a certificate"], ["managed_client", "A managed identity by its client ID"]];

function credentialFields(kind, at) {
  const secret = (label, rest) => field("value", label, { kind: "password", field: "/credential/value", ...rest });
  const plain = (name, label) => field(name, label, { field: `/credential/${name}` });
  fill(at, {
    managed: null,
    account_key: secret("The key"),
    sas: secret("The signature"),
    connection_string: secret("The connection string"),
    client_secret: [plain("tenant", "Tenant"), plain("client", "Application"), secret("Its secret")],
    client_certificate: [plain("tenant", "Tenant"), plain("client", "Application"), field("value", "Certificate and key (PEM)", { kind: "textarea", class: "mono", field: "/credential/value" })],
    managed_client: plain("client", "Client ID"),
  }[kind]);
}

function vaultForm(view, again) {
  const more = h("div.grid");
  const result = h("div", { "aria-live": "polite" });
  const adopt = h("div");
  const credential = (held) => {
    const kind = held.kind;
    const given = { kind };
    for (const name of ["tenant", "client", "value"]) if (held[name] !== undefined) given[name] = held[name];
    return given;
  };
  let found = null;
  const node = form({
    label: "Vault",
    submit: "Use this place",
    fields: [
      field("place", "Where the vault is", { value: view.set?.vault?.place || "", placeholder: "azure://ACCOUNT/CONTAINER", hint: "azure://ACCOUNT/CONTAINER, or on this machine disk:NAME/FOLDER or dir:FOLDER." }),
      field("kind", "What opens it", { kind: "select", options: CREDENTIALS, field: "/credential" }), more,
      field("how", "The vault", { kind: "select", options: [["new", "Make a new one"], ["adopt", "Take over one that is there"]] }), adopt, result,
    ],
    send: async (held) => {
      const body = { place: held.place.trim(), credential: credential(held), how: held.how };
      if (held.how === "adopt") Object.assign(body, { key: held.key, passphrase: held.passphrase || null, confirm: found });
      return change("POST", ["setup", "vault"], body);
    },
    then: async (answer) => {
      if (answer.found && answer.stage === "vault") {
        found = answer.found.vault;
        fill(result, card("This vault was found", {}, facts(["Vault", mono(answer.found.vault)], ["Servers", answer.found.servers.join(", ") || "none"], ["Points", count(answer.found.points)], ["Newest", time(answer.found.newest_millis)]),
          answer.found.warnings.map((warning) => note("attention", warning)), h("p", "If it is the one, use this place once more.")));
        node.querySelector("[type=submit]").textContent = "Take this vault over";
        return;
      }
      shown = answer.key || null;
      await again();
    },
  });
  const adapt = () => {
    credentialFields(node.elements.kind.value, more);
    fill(adopt, node.elements.how.value === "adopt" ? [
      field("key", "The recovery key", { kind: "textarea", rows: 4, class: "mono", hint: "As it stands on paper, or the content of its file." }),
      field("passphrase", "The passphrase of the key's file", { kind: "password", hint: "Empty where it has none." }),
    ] : null);
  };
  node.addEventListener("change", (event) => {
    found = null;
    if (["kind", "how"].includes(event.target.name)) adapt();
  });
  node.querySelector(".buttons").append(button("Test the way there", async () => {
    fill(result, waiting("The way is walked: name, route, TLS, permissions, pace…"));
    const held = Object.fromEntries(new FormData(node));
    try {
      const { value } = await call("POST", path(["setup", "vault", "test"]), { place: held.place.trim(), credential: credential(held) });
      fill(result, testResult(value));
      if (value.holds === "vault") {
        node.elements.how.value = "adopt";
        adapt();
      }
    } catch (problem) {
      result.replaceChildren();
      refuse(node, problem);
    }
  }));
  adapt();
  return node;
}

const STANDING = { good: "good", warning: "attention", bad: "bad" };
const HOLDS = { nothing: "Nothing lies there: a new vault can be made.", vault: "A vault lies there: it can be taken over.", other: "Something else lies there: choose another place.", unknown: "It could not be looked what lies there." };

function testResult(test) {
  return h("div", h("p", health(test.good ? "good" : "bad", test.good ? "A vault there would do." : "A vault there would not do."), " ", HOLDS[test.holds] || ""),
    table("The way there", ["Step", "On", "State", "What was found", ["Took", "number"]], test.rows.map((row) => [row.step, mono(row.object), health(STANDING[row.standing] || "off", row.standing), [row.verdict, row.remedy ? h("div.cause", row.remedy) : null], row.took_millis === null ? "–" : millis(row.took_millis)])));
}

/** A new vault's key, from its making until it was typed back; never kept anywhere else. */
let shown = null;

function keyForm(view, again) {
  const place = h("div");
  const draw = () => fill(place, shown ? [
    h("p", icon("attention"), " Write it down on paper. With it and the vault everything comes back; without it nothing does. It is shown this once."),
    h("ol.key-groups.mono", { tabindex: "0", "aria-label": "The recovery key" }, shown.groups.map((group) => h("li", group))),
    h("div.buttons", copier("Copy the key's file", () => shown?.file || ""), button("Print", () => print()),
      button("It is written down", () => { shown = null; draw(); place.querySelector("textarea").focus(); }, { class: "primary" })),
  ] : form({
    label: "Recovery key", submit: "Check it",
    fields: field("typed", "The recovery key, from your paper", { kind: "textarea", rows: 4, class: "mono", hint: "Blanks and small letters do no harm. What is wrong is told by its group." }),
    send: (held) => change("POST", ["setup", "key"], { typed: held.typed }),
    then: async () => {
      toast("The key is right.");
      await again();
    },
  }), shown ? null : h("details", h("summary", "It was not written down"), form({
    label: "Show it again", submit: "Show it once more", send: () => change("POST", ["setup", "key"], { again: true }),
    then: (answer) => { if (answer?.key) { shown = answer.key; draw(); } },
  })));
  draw();
  return place;
}

function timeForm(view, again) {
  const set = view.set.time;
  const first = view.stage === "time";
  const own = -new Date().getTimezoneOffset();
  const editor = calendarEditor(set.calendar);
  const zones = [];
  for (let minutes = -720; minutes <= 840; minutes += 30) {
    const all = Math.abs(minutes);
    zones.push([minutes, `UTC${minutes < 0 ? "−" : "+"}${String(Math.floor(all / 60)).padStart(2, "0")}:${String(all % 60).padStart(2, "0")}`]);
  }
  const minutes = first ? own : set.zone_minutes;
  if (!zones.some(([value]) => value === minutes)) zones.push([minutes, `${minutes} min east of UTC`]);
  return form({
    label: "Time and limits", submit: first ? "That is all" : "Save",
    fields: [h("div.grid",
      field("zone", "Time zone", { value: (first && Intl.DateTimeFormat().resolvedOptions().timeZone) || set.zone }),
      field("zone_minutes", "Its clock", { kind: "select", value: minutes, options: zones, hint: "The machine knows no summer time: change it here twice a year." }),
      field("servers", "Time servers", { value: set.servers.join(", "), hint: "Addresses, four at most; empty: as DHCP says." })),
    h("h3", "How much may be sent when"), editor.node],
    send: (held) => change("PUT", ["setup", "time"], { zone: held.zone.trim(), zone_minutes: Number(held.zone_minutes), servers: held.servers.split(/[\s,]+/).filter(Boolean), calendar: editor.value() }),
    then: again,
  });
}

function certificateForm(view, again) {
  const { machine_sha256: machine, own } = view.set.certificate;
  const put = (chain, key, done) => change("PUT", ["setup", "certificate"], { chain, key }, done);
  return h("div", facts(["The machine's own", mono(machine)], own ? ["Yours", [own.names.join(", "), h("div.cause", `by ${own.issuer}, ends `, time(own.ends_millis))]] : null),
    quiet("Whoever comes by one of your certificate's names sees yours; by an address, the machine's own, which agents pin."),
    h("details", h("summary", own ? "Another one" : "Install one of your own"), form({
      label: "Certificate", submit: "Install",
      fields: [field("chain", "Certificate with those between it and its authority (PEM)", { kind: "textarea", class: "mono" }), field("key", "Its key (PEM)", { kind: "textarea", class: "mono",  })],
      send: (held) => put(held.chain, held.key, "The certificate is installed."), then: again,
    })), own ? form({ label: "Take it away", submit: "Take yours away", send: () => put("", "", "The certificate is taken away."), then: again }) : null);
}
