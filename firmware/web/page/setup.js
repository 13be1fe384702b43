// First run, one question after the other; later the same questions, one at a time.

import { admin, call, get, path, session } from "./api.js";
import { calendarEditor, linksTable } from "./appliance.js";
import { button, card, cause, copier, facts, fill, h, head, health, icon, live, loud, mono, more, note, quiet, table, time, toast, waiting } from "./dom.js";
import { change, field, form, list, refuse, values, wrong } from "./form.js";
import { passwordFields, same } from "./login.js";
import { count, millis, seconds, zoneWords } from "./words.js";

const STAGES = [["network", "Network"], ["vault", "Vault"], ["key", "Recovery key"], ["time", "Time and limits"]];

export const pairing = (done) => form({
 submit: "Begin",
 fields: [
  field("code", "The code on the machine's console", { autocomplete: "one-time-code", hint: "Blanks, dashes and small letters do no harm." }),
  field("name", "Your name here", { value: "admin", autocomplete: "username" }),
  passwordFields("A password"),
 ],
 send: async (held) => {
  same(held);
  session.current = (await call("POST", path(["setup", "pair"]), { code: held.code, name: held.name, password: held.password }, { quiet: true })).value;
 },
 then: done,
});

export async function show({ refresh }) {
 if (!admin()) return { title: "Setup", element: h("p", "An administrator may do this.") };
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
  } else document.querySelector("#main .card :is(input,button,select)")?.focus();
 };
 const make = { network: networkForm, vault: vaultForm, key: keyForm, time: timeForm }[view.stage];
 return [
  head("First run", "A few questions, and the first server can come."),
  h("ol.stages", STAGES.map(([, name], nth) => h("li", { class: nth === at ? "now" : "", "aria-current": nth === at && "step" },
   nth < at ? icon("good") : h("span.number", { "aria-hidden": "true" }, nth + 1), " ", name, nth < at && h("span.unseen", ": done")))),
  card(STAGES[at]?.[1] || view.stage, {}, make?.(view, again)),
 ];
}

function settled(view, refresh) {
 const set = view.set;
 return [
  head("Setup", "What first run asked, to be changed."),
  card("Network", {}, networkForm(view, refresh)),
  set.vault && card("Vault", {}, facts(["Place", mono(set.vault.place)], ["Opened by", set.vault.credential || "nothing is needed"], ["Recovery key", set.vault.key_confirmed ? health("good", "was typed back") : health("attention", "nobody has typed it back")]),
   !set.vault.key_confirmed && keyForm(view, refresh),
   set.vault.named_by === "setup" && more("Open it by something else", vaultForm(view, refresh, true))),
  card("Time and limits", {}, timeForm(view, refresh)),
  card("Certificate", {}, certificateForm(view, refresh)),
 ];
}

function networkForm({ stage, set }, again) {
 const { links, dns, gateways, changeable, settings, trial_seconds_left: trial } = set.network;
 const put = (submit, ask, done, rest) => form({ submit, send: (held) => change("PUT", ["setup", "network"], ask(held), done), then: again, ...rest });
 const tried = (label, fields, ask) => more(label, put("Try it for a minute", ask, "It is tried. Come back by the new address and confirm.", { label, fields }));
 return h("div",
  linksTable(links),
  facts(["Names answered by", dns.join(", ") || "nobody"], ["Ways out", gateways.join(", ") || "none"]),
  trial != null && h("div.card.trouble", note("attention", `These settings are tried, and taken back in ${seconds(trial)} unless they are confirmed.`),
   put("Keep these settings", () => ({ confirm: true }), "The settings are kept.")),
  stage === "network" && put("Keep it as it is", () => ({ keep: true })),
  changeable ? [
   tried("Change a link", h("div.grid",
    field("name", "Link", { options: links.map((link) => link.name) }),
    field("addresses", "Addresses with prefix", { placeholder: "192.0.2.10/24", hint: "Empty: DHCP.", field: "/link/addresses" }),
    field("gateways", "Gateway", { placeholder: "192.0.2.1", field: "/link/gateways" }), field("dns", "DNS servers", { hint: "Three at most; empty: as DHCP says.", field: "/link/dns" })),
   (held) => ({ link: { name: held.name, addresses: list(held.addresses), gateways: list(held.gateways), dns: list(held.dns) } })),
   tried("All of it, as text", field("settings", "The table [network] of lifeboat.toml", { value: settings, rows: 10 }), (held) => held)]
   : quiet("Another system keeps this machine's network."));
}

const CREDENTIALS = [["managed", "None, or this machine's own identity in Azure"], ["account_key", "The storage account's key"], ["sas", "A shared access signature"], ["connection_string", "A connection string"],
 ["client_secret", "A registered application with a secret"], ["client_certificate", "A registered application with a certificate"], ["managed_client", "A managed identity by its client ID"]];

function credentialFields(kind) {
 const plain = (name, label, rest) => field(name, label, { field: `/credential/${name}`, ...rest });
 const secret = (label) => plain("value", label, { kind: "password" });
 const application = [plain("tenant", "Tenant"), plain("client", "Application")];
 return {
  account_key: secret("The key"), sas: secret("The signature"), connection_string: secret("The connection string"), client_secret: [application, secret("Its secret")],
  client_certificate: [application, plain("value", "Certificate and key (PEM)", { rows: 8 })], managed_client: plain("client", "Client ID"),
 }[kind];
}

function vaultForm(view, again, renews) {
 const [opens, adopt, result] = [h("div.grid"), h("div"), live()];
 const own = more("Its certificate is by an authority of your own", field("authority", "The authority's certificate (PEM)", { rows: 4, hint: "Trusted beside the usual ones." }));
 const asked = ({ place, kind, tenant, client, value, authority }) => ({ place, authority, credential: { kind, tenant, client, value } });
 let found = null;
 const node = form({
  label: "Vault",
  submit: renews ? "Open it by this from now on" : "Use this place",
  fields: [
   field("place", "Where the vault is", { value: view.set?.vault?.place || "", placeholder: "azure://ACCOUNT/CONTAINER", hint: "azure://ACCOUNT/CONTAINER, or on this machine disk:NAME/FOLDER or dir:FOLDER." }),
   field("kind", "What opens it", { options: CREDENTIALS, field: "/credential" }), opens, own,
   field("how", "The vault", { options: renews ? [["renew", "The one in use"]] : [["new", "Make a new one"], ["adopt", "Take over one that is there"]] }), adopt, result,
  ],
  send: async (held) => {
   const body = { ...asked(held), how: held.how };
   if (held.how === "adopt") Object.assign(body, { key: held.key, passphrase: held.passphrase || null, confirm: found });
   return change("POST", ["setup", "vault"], body, renews && "It is kept. A new certificate is used from the next start on, all else within a minute.");
  },
  then: async (answer) => {
   if (answer.found && answer.stage === "vault") {
    found = answer.found.vault;
    fill(result, card("This vault was found", {}, facts(["Vault", mono(answer.found.vault)], ["Servers", answer.found.servers.join(", ") || "none"], ["Points", count(answer.found.points)], ["Newest", time(answer.found.newest_millis)]),
     answer.found.warnings.map((warning) => note("attention", warning)), h("p", "If it is the one, use this place once more.")));
    node.go.textContent = "Take this vault over";
    return;
   }
   shown = answer.key || null;
   await again();
  },
 });
 const adapt = () => {
  fill(opens, credentialFields(node.elements.kind.value));
  fill(adopt, node.elements.how.value === "adopt" && [
   field("key", "The recovery key", { rows: 4, hint: "As it stands on paper, or the content of its file." }),
   field("passphrase", "The passphrase of the key's file", { kind: "password", hint: "Empty where it has none." }),
  ]);
 };
 node.addEventListener("change", (event) => {
  if (found) node.go.textContent = "Use this place";
  found = null;
  if (["kind", "how"].includes(event.target.name)) adapt();
 });
 node.buttons.append(button("Test the way there", async () => {
  fill(result, waiting("The way is walked: name, route, TLS, permissions, pace…"));
  try {
   const { value } = await call("POST", path(["setup", "vault", "test"]), asked(values(node)));
   fill(result, testResult(value));
   own.open ||= value.rows.some((row) => row.step === "tls" && row.standing === "bad");
   if (!renews && value.holds === "vault") {
    node.elements.how.value = "adopt";
    adapt();
   }
  } catch (problem) {
   fill(result);
   refuse(node, problem);
  }
 }));
 adapt();
 return node;
}

const HOLDS = { nothing: "Nothing lies there: a new vault can be made.", vault: "A vault lies there: it can be taken over.", other: "Something else lies there: choose another place.", unknown: "It could not be looked what lies there." };

const testResult = ({ good, holds, rows }) => [h("p", health(good ? "good" : "bad", good ? "A vault there would do." : "A vault there would not do."), " ", HOLDS[holds]),
 table("The way there", ["Step", "On", "State", "What was found", ["Took", "number"]], rows.map((row) => [row.step, mono(row.object), health(row.standing === "warning" ? "attention" : row.standing, row.standing), [row.verdict, row.remedy && cause(row.remedy)], millis(row.took_millis)]))];

// A new vault's key, until it was typed back; kept nowhere else.
let shown = null;

function keyForm(view, again) {
 const place = h("div");
 const draw = () => fill(place, shown ? [
  note("attention", "Write it down on paper. With it and the vault everything comes back; without it nothing does. It is shown this once."),
  h("ol.key-groups.mono", { tabindex: "0", label: "The recovery key" }, shown.groups.map((group) => h("li", group))),
  h("div.buttons", copier("Copy the key's file", () => shown?.file || ""), button("Print", () => print()),
   button("It is written down", () => { shown = null; draw(); place.querySelector("textarea").focus(); }, loud)),
 ] : [form({
  label: "Recovery key", submit: "Check it",
  fields: field("typed", "The recovery key, from your paper", { rows: 4, hint: "Blanks and small letters do no harm. What is wrong is told by its group." }),
  send: (held) => change("POST", ["setup", "key"], held, "The key is right."),
  then: again,
 }), more("It was not written down", form({
  submit: "Show it once more", send: () => change("POST", ["setup", "key"], { again: true }),
  then: ({ key }) => { shown = key; draw(); },
 }))]);
 draw();
 return place;
}

function timeForm(view, again) {
 const set = view.set.time;
 const first = view.stage === "time";
 const own = -new Date().getTimezoneOffset();
 const editor = calendarEditor(set.calendar);
 const minutes = first ? own : set.zone_minutes;
 const zones = Array.from({ length: 53 }, (_, at) => at * 30 - 720);
 if (!zones.includes(minutes)) zones.push(minutes);
 return form({
  label: "Time and limits", submit: first ? "That is all" : "Save",
  fields: [h("div.grid",
   field("zone", "Time zone", { value: (first && Intl.DateTimeFormat().resolvedOptions().timeZone) || set.zone }),
   field("zone_minutes", "Its clock", { value: minutes, options: zones.map((zone) => [zone, zoneWords(zone)]), hint: "The machine knows no summer time: change it here twice a year." }),
   field("servers", "Time servers", { value: set.servers.join(", "), hint: "Addresses, four at most; empty: as DHCP says." })),
  h("h3", "How much may be sent when"), editor.node],
  send: (held) => change("PUT", ["setup", "time"], { zone: held.zone, zone_minutes: Number(held.zone_minutes), servers: list(held.servers), calendar: editor.value() }),
  then: again,
 });
}

function certificateForm({ set }, again) {
 const { machine_sha256: machine, own } = set.certificate;
 const put = ({ chain = "", key = "" }, done) => change("PUT", ["setup", "certificate"], { chain, key }, done);
 return [facts(["The machine's own", mono(machine)], own && ["Yours", own.names.join(", "), cause("by ", own.issuer, ", ends ", time(own.ends_millis))]),
  quiet("Whoever comes by one of your certificate's names sees yours; by an address, the machine's own, which agents pin."),
  more(own ? "Another one" : "Install one of your own", form({
   label: "Certificate", submit: "Install",
   fields: [field("chain", "Certificate with those between it and its authority (PEM)", { rows: 8 }), field("key", "Its key (PEM)", { rows: 8 })],
   send: (held) => {
    if (!held.chain) throw wrong("/chain", "Paste it here.");
    return put(held, "The certificate is installed.");
   },
   then: again,
  })), own && form({ submit: "Take yours away", send: () => put({}, "The certificate is taken away."), then: again })];
}
