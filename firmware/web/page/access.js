// Who may manage the appliance and what they did: users, tokens, approvals, the audit log; and who is told when something goes wrong.

import { get, may, path, session } from "./api.js";
import { alertsCard } from "./alerts.js";
import { fill, h, icon, text, quiet, mono, strong } from "./dom.js";
import { attempt, change, confirm, dialog, field, form } from "./form.js";
import { passwordFields, same } from "./login.js";
import { button, card, copier, head, health, since, table, time } from "./parts.js";
import { exactly, named } from "./words.js";

const ROLES = [["viewer", "Viewer: sees everything but secrets"], ["operator", "Operator: protects, drills, fails over"], ["administrator", "Administrator: sets up, deletes, lets others in"]];

/** The view. */
export async function show() {
  const parts = [may("operator") && approvals(), may("administrator") && users(), may("administrator") && tokens(), sessions(), alertsCard(), may("administrator") && audit()].filter(Boolean);
  const again = () => Promise.all(parts.map((part) => part.again?.()));
  await again();
  return {
    title: "Access",
    element: h("div", head("Access", `You are ${session.current.name}, ${named(session.current.role).toLowerCase()}.`), parts.map((part) => part.node)),
    refresh: again,
    live: (kind) => { if (kind === "event") parts[0].soon?.(); },
  };
}

/** A card whose content is fetched again after each change. */
function listing(title, tools, draw, load) {
  const place = h("div");
  const again = async () => {
    try {
      const loaded = await load();
      fill(place, draw(loaded, again));
    } catch (problem) {
      fill(place, quiet(problem.words || problem.message));
    }
  };
  return { node: card(title, { tools: tools?.(again) }, place), again };
}

const APPROVAL = { waits: ["attention", "Waits"], granted: ["good", "Granted"], refused: ["off", "Refused"], over: ["off", "Too late"] };

function approvals() {
  const made = listing("Second person", null, (all, again) => {
    const settle = (one, grant) => async () => {
      const send = () => change("POST", ["approvals", one.id], { grant }, grant ? "Granted." : "Refused.");
      const answer = grant ? await confirm({ title: "Grant this", words: [h("p", one.words), h("p", `Asked by ${one.by}.`)], submit: "Grant", send }) : await attempt(send);
      if (answer) again();
    };
    return table("Approvals", ["What", "Asked by", "When", "State", ""], all.map((one) => [
      one.words, one.by, since(one.asked_millis), [health(...APPROVAL[one.state] || ["off", one.state]), one.settled_by ? h("div.cause", `by ${one.settled_by}`) : null],
      one.state === "waits" && may("administrator") && one.by !== session.current.name ? h("div.buttons", button("Grant", settle(one, true), { class: "primary", "aria-label": `Grant: ${one.words}` }), button("Refuse", settle(one, false), { "aria-label": `Refuse: ${one.words}` })) : "",
    ]), "Nothing waits for a second person.");
  }, () => get("approvals"));
  let timer = null;
  made.soon = () => {
    clearTimeout(timer);
    timer = setTimeout(() => { if (made.node.isConnected) made.again(); }, 1000);
  };
  return made;
}

function users() {
  return listing("Users", (again) => button("Let somebody in", async () => {
    const done = await dialog("Let somebody in", (close) => form({
      label: "Let somebody in", submit: "Let in", cancel: () => close(),
      fields: [field("name", "Name"), field("role", "Role", { kind: "select", options: ROLES }), passwordFields("Password")],
      send: (held) => {
        same(held);
        return change("POST", ["users"], { name: held.name, role: held.role, password: held.password });
      },
      then: () => close(true),
    }));
    if (done) again();
  }), (all, again) => table("Users", ["Name", "Role", "Since", "Let in by", ""], all.map((user) => [
    strong(user.name), named(user.role), time(user.made_millis), user.by,
    h("div.buttons", button("New password", async () => {
      const own = user.name === session.current.name;
      await dialog(`New password of ${user.name}`, (close) => form({
        label: "New password", submit: "Change it", cancel: () => close(),
        fields: [own ? field("old", "The password so far", { kind: "password", autocomplete: "current-password" }) : null, passwordFields()],
        send: (held) => {
          same(held);
          return change("POST", ["users", user.name, "password"], own ? { password: held.password, old: held.old } : { password: held.password }, "The password is changed; other sessions have ended.");
        },
        then: () => close(),
      }));
    }, { "aria-label": `New password of ${user.name}` }), user.name === session.current.name ? null : button("Remove", async () => {
      const done = await confirm({ title: `Remove ${user.name}`, words: "Sessions and tokens of this user end at once.", submit: "Remove", typed: user.name, send: () => change("DELETE", ["users", user.name], undefined, `${user.name} is removed.`) });
      if (done) again();
    }, { class: "danger", "aria-label": `Remove ${user.name}` })),
  ])), () => get("users"));
}

function tokens() {
  return listing("Tokens", (again) => button("Make a token", async () => {
    const made = await dialog("Make a token", (close) => form({
      label: "Make a token", submit: "Make it", cancel: () => close(),
      fields: [field("name", "What it is for", { hint: "Letters, digits, - _ . @" }), field("role", "Role", { kind: "select", options: ROLES }),
        field("days", "Ends after, days", { kind: "number", min: 1, max: 3650, value: 365, hint: "Empty: never." })],
      send: (held) => change("POST", ["tokens"], held),
      then: (answer) => close(answer),
    }));
    if (!made?.token) return;
    again();
    await dialog("The token", () => [
      h("p", icon("attention"), " It is shown this once. Whoever has it may do what its role may."),
      h("pre.command", { tabindex: "0", "aria-label": "The token" }, made.token), copier("Copy", () => made.token),
      quiet("For scripts: the header ", h("code", "Authorization: Bearer …"), ". For the command line: ", h("code", "lifeboat --remote"), "."),
    ]);
  }), (all, again) => table("Tokens", ["Name", "Role", "Made", "Used", "Ends", ""], all.map((token) => [
    strong(token.name), named(token.role), [time(token.made_millis), h("div.cause", `by ${token.by}`)], since(token.used_millis), token.ends_millis ? time(token.ends_millis) : "never",
    button("End it", async () => {
      const done = await confirm({ title: `End the token ${token.name}`, words: "Whatever uses it is turned away from now on.", submit: "End it", typed: token.name, send: () => change("DELETE", ["tokens", token.id], undefined, "The token has ended.") });
      if (done) again();
    }, { class: "danger", "aria-label": `End it: the token ${token.name}` }),
  ]), "No token: scripts and Prometheus need one."), () => get("tokens"));
}

function sessions() {
  return listing("Sessions", null, (all, again) => table("Sessions", ["Who", "From", "Browser", "Used", ""], all.map((one) => [
    strong(one.name), mono(one.address), h("span.wrap.quiet", one.agent), one.own ? "this one" : since(one.used_millis),
    one.own ? "" : button("End it", async () => {
      await attempt(() => change("DELETE", ["sessions", one.id], undefined, "The session has ended."));
      again();
    }, { "aria-label": `End it: the session of ${one.name} from ${one.address}` }),
  ])), () => get("sessions"));
}

function audit() {
  let held = [];
  const more = button("Older ones", () => attempt(async () => add(await get("audit", { before: held.at(-1)?.number, limit: 100 }))));
  const place = h("div");
  const chain = h("p.quiet");
  const add = (page) => {
    held = held.concat(page.entries);
    more.hidden = !page.more;
    fill(chain, page.broken ? health("bad", `The chain is broken at entry ${page.broken.number}: ${page.broken.words}`) : health("good", "Each entry holds the fingerprint of the one before: the chain is whole."),
      h("span.mono.wrap.block", `Head ${page.head}`));
    fill(place, table("Audit log", ["When", "Who", "What", "Object", "From", "Outcome"], held.map((entry) => [
      time(entry.at_millis, exactly), entry.by, named(entry.what), entry.object, mono(entry.address),
      health(entry.outcome < 300 ? "good" : "bad", entry.outcome < 300 ? (entry.outcome === 202 ? "waits" : "done") : `refused (${entry.outcome})`),
    ])));
  };
  const again = async () => {
    held = [];
    try {
      add(await get("audit", { limit: 100 }));
    } catch (problem) {
      text(chain, problem.words || problem.message);
    }
  };
  return { node: card("Audit log", { tools: h("a.button", { href: path(["audit"], { limit: 500 }), download: "lifeboat-audit.json" }, "Download") }, chain, place, more), again };
}
