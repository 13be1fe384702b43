// Who may manage the appliance and what they did; who is told when something goes wrong.

import { admin, get, operator, path, session } from "./api.js";
import { alertsCard } from "./alerts.js";
import { button, card, cause, copier, fill, h, head, health, loud, mono, note, quiet, since, strong, table, time } from "./dom.js";
import { ask, asking, change, dialog, doing, field, loading } from "./form.js";
import { oldPassword, passwordFields, same } from "./login.js";
import { exactly, named } from "./words.js";

const ROLES = [["viewer", "Viewer: sees everything but secrets"], ["operator", "Operator: protects, drills, fails over"], ["administrator", "Administrator: sets up, deletes, lets others in"]];

export async function show() {
 const parts = [operator() && approvals(), admin() && users(), admin() && tokens(), sessions(), alertsCard(), admin() && audit()].filter(Boolean);
 const again = () => Promise.all(parts.map((part) => part.again()));
 await again();
 return {
  title: "Access",
  element: h("div", head("Access", `You are ${session.current.name}, ${named(session.current.role).toLowerCase()}.`), parts.map((part) => part.node)),
  refresh: again,
  live: (kind) => { if (kind === "event") parts[0].soon?.(); },
 };
}

function listing(title, what, draw, tools) {
 const { place, again } = loading(() => get(what), draw);
 return { node: card(title, { tools: tools?.(again) }, place), again };
}

const APPROVAL = { waits: ["attention", "Waits"], granted: ["good", "Granted"], refused: ["off", "Refused"], over: ["off", "Too late"] };

function approvals() {
 const made = listing("Second person", "approvals", (all, again) => table("Approvals", ["What", "Asked by", "When", "State", ""], all.map((one) => {
  const settle = (grant) => change("POST", ["approvals", one.id], { grant }, grant ? "Granted." : "Refused.");
  return [one.words, one.by, since(one.asked_millis), [health(...APPROVAL[one.state] || ["off", one.state]), one.settled_by && cause("by ", one.settled_by)],
   one.state === "waits" && admin() && one.by !== session.current.name && h("div.buttons",
    asking("Grant", { title: "Grant this", words: [one.words, `Asked by ${one.by}.`], send: () => settle(true) }, again, { ...loud, label: `Grant: ${one.words}` }),
    doing("Refuse", () => settle(false), again, { label: `Refuse: ${one.words}` }))];
 }), "Nothing waits for a second person."));
 let timer = null;
 made.soon = () => {
  clearTimeout(timer);
  timer = setTimeout(() => { if (made.node.isConnected) made.again(); }, 1000);
 };
 return made;
}

function users() {
 return listing("Users", "users", (all, again) => table("Users", ["Name", "Role", "Since", "Let in by", ""], all.map(({ name, role, made_millis, by }) => {
  const own = name === session.current.name;
  return [strong(name), named(role), time(made_millis), by, h("div.buttons",
   asking("New password", {
    title: `New password of ${name}`, submit: "Change it", fields: [own && oldPassword(), passwordFields()],
    send: (held) => {
     same(held);
     return change("POST", ["users", name, "password"], { password: held.password, ...(own && { old: held.old }) }, "The password is changed; other sessions have ended.");
    },
   }, null, { label: `New password of ${name}` }),
   !own && asking("Remove", { title: `Remove ${name}`, words: "Sessions and tokens of this user end at once.", typed: name, send: () => change("DELETE", ["users", name], undefined, `${name} is removed.`) }, again, { label: `Remove ${name}` }))];
 })), (again) => asking("Let somebody in", {
  submit: "Let in",
  fields: [field("name", "Name"), field("role", "Role", { options: ROLES }), passwordFields("Password")],
  send: (held) => {
   same(held);
   return change("POST", ["users"], { name: held.name, role: held.role, password: held.password });
  },
 }, () => again()));
}

function tokens() {
 return listing("Tokens", "tokens", (all, again) => table("Tokens", ["Name", "Role", "Made", "Used", "Ends", ""], all.map((token) => [
  strong(token.name), named(token.role), [time(token.made_millis), cause("by ", token.by)], since(token.used_millis), token.ends_millis ? time(token.ends_millis) : "never",
  asking("End it", { title: `End the token ${token.name}`, words: "Whatever uses it is turned away from now on.", typed: token.name, send: () => change("DELETE", ["tokens", token.id], undefined, "The token has ended.") }, again, { label: `End it: the token ${token.name}` }),
 ]), "No token: scripts and Prometheus need one."), (again) => button("Make a token", async () => {
  const made = await ask({
   title: "Make a token", submit: "Make it",
   fields: [field("name", "What it is for", { hint: "Letters, digits, - _ . @" }), field("role", "Role", { options: ROLES }), field("days", "Ends after, days", { min: 1, max: 3650, value: 365, hint: "Empty: never." })],
   send: (held) => change("POST", ["tokens"], held),
  });
  if (!made?.token) return;
  again();
  await dialog("The token", () => [
   note("attention", "It is shown this once. Whoever has it may do what its role may."),
   h("pre.command", { tabindex: "0", label: "The token" }, made.token), copier("Copy", () => made.token),
   quiet("For scripts: the header ", h("code", "Authorization: Bearer …"), ". For the command line: ", h("code", "lifeboat --remote"), "."),
  ]);
 }));
}

const sessions = () => listing("Sessions", "sessions", (all, again) => table("Sessions", ["Who", "From", "Browser", "Used", ""], all.map((one) => [
 strong(one.name), mono(one.address), h("span.wrap.quiet", one.agent), one.own ? "this one" : since(one.used_millis),
 !one.own && doing("End it", () => change("DELETE", ["sessions", one.id], undefined, "The session has ended."), again, { label: `End it: the session of ${one.name} from ${one.address}` }),
])));

function audit() {
 let held = [];
 const older = doing("Older ones", () => get("audit", { before: held.at(-1)?.number, limit: 100 }), (page) => fill(place, draw(page)));
 const draw = (page) => {
  held = held.concat(page.entries);
  older.hidden = !page.more;
  return [page.broken ? health("bad", `The chain is broken at entry ${page.broken.number}: ${page.broken.words}`) : health("good", "Each entry holds the fingerprint of the one before: the chain is whole."),
   h("p.quiet.mono.wrap", "Head ", page.head),
   table("Audit log", ["When", "Who", "What", "Object", "From", "Outcome"], held.map((entry) => [
    time(entry.at_millis, exactly), entry.by, named(entry.what), entry.object, mono(entry.address),
    health(entry.outcome < 300 ? "good" : "bad", entry.outcome < 300 ? (entry.outcome === 202 ? "waits" : "done") : `refused (${entry.outcome})`),
   ]))];
 };
 const { place, again } = loading(() => get("audit", { limit: 100 }), (page) => {
  held = [];
  return draw(page);
 });
 return { node: card("Audit log", { tools: h("a.button", { href: path(["audit"], { limit: 500 }), download: "lifeboat-audit.json" }, "Download") }, place, older), again };
}
