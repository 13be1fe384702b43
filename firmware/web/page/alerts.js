// Alerts: what stands, who is told and how, and when something is an alert at all.

import { admin, get } from "./api.js";
import { button, card, cause, h, health, mono, more, quiet, since, strong, table } from "./dom.js";
import { asking, attempt, change, dialog, doing, field, form, list, loading } from "./form.js";
import { counted } from "./words.js";

const WAYS = { webhook: "Webhook", syslog: "Syslog", mail: "E-mail" };

export function alertsCard() {
 const { place, again } = loading(() => get("alerts"), draw);
 return { node: card("Alerts", {}, place), again };
}

const to = (way) => (way.kind === "webhook" ? way.url : way.kind === "syslog" ? `${way.host}, ${way.by.toUpperCase()}` : `${way.to.join(", ")} by ${way.host}`);

// Channels as they are set again: without a secret what is set stays.
const kept = (channels) => channels.map(({ name, way, at_least }) => ({ name, way, at_least }));

function draw(view, again) {
 const save = (channels, rules = view.rules) => change("PUT", ["alerts"], { channels, rules }, "Alerts are changed.");
 const others = (channel) => kept(view.channels.filter((one) => one.name !== channel.name));
 const edit = (words, channel) => asking(words, channelForm(channel, others(channel), save), again, { label: channel.name && `${words} ${channel.name}` });
 const allowed = admin();
 return [
  table("Alerts that stand", ["How bad", "Object", "What", "Since"], view.standing.map((alert) => [
   health(alert.health), alert.object, [alert.words, cause(alert.remedy)], since(alert.since_millis),
  ]), "Nothing is wrong just now."),
  h("h3", "Who is told"),
  table("Channels", ["Name", "How", "To", "From which on", "Last message", ""], view.channels.map((channel) => [
   strong(channel.name), WAYS[channel.way.kind] || channel.way.kind, mono(to(channel.way)), health(channel.at_least),
   [channel.last || "none yet", channel.last_millis && cause(since(channel.last_millis))],
   allowed && h("div.buttons", edit("Change", channel), doing("Remove", () => save(others(channel)), again, { label: `Remove ${channel.name}` })),
  ]), "Nobody is told of anything yet."),
  (view.waiting > 0 || view.given_up > 0) && quiet(`${counted(view.waiting, "message")} waiting, ${view.given_up} given up.`),
  allowed && [
   h("div.buttons", Object.keys(WAYS).map((kind) => edit(`Add ${WAYS[kind].toLowerCase()}`, { name: "", at_least: "attention", way: { kind } })),
    view.channels.length > 0 && button("Send a test to all", () => test(again))),
   rules(view, save, again)],
 ];
}

async function test(again) {
 const came = await attempt(() => change("POST", ["alerts", "test"]));
 if (!came) return;
 await dialog("Test messages", () => table("Test messages", ["Channel", "Taken", "What was said"], came.map((one) => [one.name, health(one.taken ? "good" : "bad", one.taken ? "yes" : "no"), one.words])));
 again();
}

function channelForm(channel, others, save) {
 const { way, set } = channel;
 const { kind } = way;
 const at = (name, label, rest) => field(name.split("/").at(-1), label, { ...rest, field: `/channels/${others.length}/${name}` });
 const host = (label, hint) => at("way/host", label, { value: way.host, hint: `HOST or HOST:PORT; ${hint}` });
 const fields = {
  webhook: () => at("way/url", "Address", { kind: "url", value: way.url, placeholder: "https://" }),
  syslog: () => [host("Host", "514, with TLS 6514."), at("way/by", "By", { value: way.by, options: [["udp", "UDP"], ["tcp", "TCP"], ["tls", "TCP with TLS"]] })],
  mail: () => [host("Mail server", "587, with TLS from the first byte 465."),
   at("way/tls", "Privacy", { value: way.tls, options: [["starttls", "STARTTLS"], ["tls", "TLS from the first byte"], ["none", "none: a relay on a trusted wire"]] }),
   at("way/user", "Log in as", { value: way.user || "", hint: "Empty: not at all." }),
   at("way/from", "From", { kind: "email", value: way.from }),
   at("way/to", "To", { value: (way.to || []).join(", "), hint: "Addresses, with commas between them." })],
 }[kind]();
 return {
  title: channel.name ? `Channel ${channel.name}` : WAYS[kind], submit: "Save",
  fields: [at("name", "Name", { value: channel.name }), fields,
   kind !== "syslog" && at("secret", kind === "mail" ? "Password" : "Key that signs", { kind: "password", autocomplete: "new-password", hint: set ? "One is set. Empty: it stays." : "Empty: none." }),
   at("at_least", "Tells from", { value: channel.at_least, options: [["attention", "Attention on"], ["bad", "Bad only"], ["good", "everything"]] })],
  send: ({ name, at_least, secret, ...way }) => {
   if (kind === "mail") Object.assign(way, { user: way.user || null, to: list(way.to) });
   return save([...others, { name, way: { kind, ...way }, at_least, ...(secret && { secret }) }]);
  },
 };
}

const RULES = [
 ["rpo_percent", "RPO missed at, % of the target", "100 to 10 000."], ["silent_seconds", "Agent silent for, seconds", "60 to 604 800."], ["spool_percent", "Spool full to, %", "10 to 99."],
 ["spool_left_seconds", "Spool lasts less than, seconds", "0: never."], ["again_hours", "Told again after, hours", "0: never."], ["tripwire_pin_days", "Points pinned by the tripwire for, days", "1 to 365."],
];

const rules = ({ rules: set, channels }, save, again) => more("When something is an alert", form({
 label: "When something is an alert", submit: "Save",
 fields: h("div.grid", RULES.map(([name, label, hint]) => field(name, label, { value: set[name], min: 0, hint })),
  field("tripwire", "Ransomware tripwire: a jump in incompressible changes pins the last good points", { value: set.tripwire })),
 send: (held) => save(kept(channels), held),
 then: again,
}));
