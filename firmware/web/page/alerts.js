// Alerts: what stands, who is told and how, and when something is an alert at all.

import { get, may } from "./api.js";
import { fill, h, quiet, strong } from "./dom.js";
import { attempt, change, dialog, field, form } from "./form.js";
import { button, card, health, since, table } from "./parts.js";
import { counted } from "./words.js";

const WAYS = { webhook: "Webhook", syslog: "Syslog", mail: "E-mail" };

/** The card; `again` fetches it. */
export function alertsCard() {
  const place = h("div");
  const again = async () => {
    try {
      const view = await get("alerts");
      fill(place, draw(view, again));
    } catch (problem) {
      fill(place, quiet(problem.words || problem.message));
    }
  };
  return { node: card("Alerts", {}, place), again };
}

const to = (way) => (way.kind === "webhook" ? way.url : way.kind === "syslog" ? `${way.host}, ${way.by.toUpperCase()}` : `${way.to.join(", ")} by ${way.host}`);

/** Channels as they are set again: without a secret what is set stays. */
const kept = (channels) => channels.map(({ name, way, at_least }) => ({ name, way, at_least }));

function draw(view, again) {
  const allowed = may("administrator");
  const save = (channels, rules = view.rules) => change("PUT", ["alerts"], { channels, rules }, "Alerts are changed.");
  const others = (channel) => kept(view.channels.filter((one) => one.name !== channel?.name));
  return [
    table("Alerts that stand", ["How bad", "Object", "What", "Since"], view.standing.map((alert) => [
      health(alert.health), alert.object, [alert.words, h("div.cause", alert.remedy)], since(alert.since_millis),
    ]), "Nothing is wrong just now."),
    h("h3", "Who is told"),
    table("Channels", ["Name", "How", "To", "From which on", "Last message", ""], view.channels.map((channel) => [
      strong(channel.name), WAYS[channel.way.kind] || channel.way.kind, h("span.wrap.mono", to(channel.way)), health(channel.at_least),
      [channel.last || "none yet", channel.last_millis ? h("div.cause", since(channel.last_millis)) : null],
      allowed ? h("div.buttons", button("Change", () => edit(channel, others(channel), save, again), { "aria-label": `Change ${channel.name}` }),
        button("Remove", async () => { if (await attempt(() => save(others(channel)))) again(); }, { "aria-label": `Remove ${channel.name}` })) : "",
    ]), "Nobody is told of anything yet."),
    view.waiting || view.given_up ? quiet(`${counted(view.waiting, "message")} waiting, ${view.given_up} given up.`) : null,
    allowed ? h("div.buttons", ["webhook", "syslog", "mail"].map((kind) => button(`Add ${WAYS[kind].toLowerCase()}`, () => edit({ name: "", at_least: "attention", set: false, way: { kind } }, kept(view.channels), save, again))),
      view.channels.length ? button("Send a test to all", test) : null) : null,
    allowed ? rules(view, save, again) : null,
  ];
}

async function test() {
  const came = await attempt(() => change("POST", ["alerts", "test"]));
  if (came) await dialog("Test messages", () => table("Test messages", ["Channel", "Taken", "What was said"], came.map((one) => [one.name, health(one.taken ? "good" : "bad", one.taken ? "yes" : "no"), one.words])));
}

function wayFields(way, at) {
  const pointer = (name) => `/channels/${at}/way/${name}`;
  if (way.kind === "webhook") return [field("url", "Address", { kind: "url", value: way.url || "", placeholder: "https://", field: pointer("url") })];
  if (way.kind === "syslog") {
    return [field("host", "Host", { value: way.host || "", hint: "HOST or HOST:PORT; 514, with TLS 6514.", field: pointer("host") }),
      field("by", "By", { kind: "select", value: way.by || "udp", options: [["udp", "UDP"], ["tcp", "TCP"], ["tls", "TCP with TLS"]], field: pointer("by") })];
  }
  return [field("host", "Mail server", { value: way.host || "", hint: "HOST or HOST:PORT; 587, with TLS from the first byte 465.", field: pointer("host") }),
    field("tls", "Privacy", { kind: "select", value: way.tls || "starttls", options: [["starttls", "STARTTLS"], ["tls", "TLS from the first byte"], ["none", "none: a relay on a trusted wire"]], field: pointer("tls") }),
    field("user", "Log in as", { value: way.user || "", hint: "Empty: not at all.", field: pointer("user") }),
    field("from", "From", { kind: "email", value: way.from || "", field: pointer("from") }),
    field("to", "To", { value: (way.to || []).join(", "), hint: "Addresses, with commas between them.", field: pointer("to") })];
}

async function edit(channel, others, save, again) {
  const kind = channel.way.kind;
  const at = others.length;
  const done = await dialog(channel.name ? `Channel ${channel.name}` : WAYS[kind], (close) => form({
    label: "Channel", submit: "Save", cancel: () => close(),
    fields: [field("name", "Name", { value: channel.name, field: `/channels/${at}/name` }), wayFields(channel.way, at),
      kind === "syslog" ? null : field("secret", kind === "mail" ? "Password" : "Key that signs", { kind: "password", autocomplete: "new-password", hint: channel.set ? "One is set. Empty: it stays." : "Empty: none.", field: `/channels/${at}/secret` }),
      field("at_least", "Tells from", { kind: "select", value: channel.at_least, options: [["attention", "Attention on"], ["bad", "Bad only"], ["good", "everything"]], field: `/channels/${at}/at_least` })],
    send: (held) => {
      const way = { kind };
      if (kind === "webhook") way.url = held.url.trim();
      if (kind === "syslog") Object.assign(way, { host: held.host.trim(), by: held.by });
      if (kind === "mail") Object.assign(way, { host: held.host.trim(), tls: held.tls, user: held.user.trim() || null, from: held.from.trim(), to: held.to.split(",").map((one) => one.trim()).filter(Boolean) });
      return save([...others, { name: held.name.trim(), way, at_least: held.at_least, ...(held.secret ? { secret: held.secret } : {}) }]);
    },
    then: () => close(true),
  }));
  if (done) again();
}

function rules(view, save, again) {
  const rule = view.rules;
  const number = (name, label, hint) => field(name, label, { kind: "number", value: rule[name], min: 0, hint, field: `/rules/${name}` });
  return h("details", h("summary", "When something is an alert"), form({
    label: "When something is an alert", submit: "Save",
    fields: h("div.grid",
      number("rpo_percent", "RPO missed at, % of the target", "100 to 10 000."), number("silent_seconds", "Agent silent for, seconds", "60 to 604 800."),
      number("spool_percent", "Spool full to, %", "10 to 99."), number("spool_left_seconds", "Spool lasts less than, seconds", "0: never."),
      number("again_hours", "Told again after, hours", "0: never."), number("tripwire_pin_days", "Points pinned by the tripwire for, days", "1 to 365."),
      field("tripwire", "Ransomware tripwire: a jump in incompressible changes pins the last good points", { kind: "checkbox", value: rule.tripwire, field: "/rules/tripwire" })),
    send: (held) => save(kept(view.channels), held),
    then: () => again(),
  }));
}
