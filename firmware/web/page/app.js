// The page begins here: who is logged in, which view the address names, what is live beside it.

import { Problem, call, login, may, onLogin, path, session, whoAmI } from "./api.js";
import { attribute, fill, h, icon, say, text, quiet } from "./dom.js";
import { dialog, refuse } from "./form.js";
import * as jobs from "./jobs.js";
import { listen, run, tryNow, watch } from "./live.js";
import { loginForm, menu as accountMenu } from "./login.js";
import { ageAll, waiting, note } from "./parts.js";
import { clock, seconds } from "./words.js";
import * as access from "./access.js";
import * as addServer from "./add.js";
import * as appliance from "./appliance.js";
import * as events from "./events.js";
import * as files from "./files.js";
import * as order from "./order.js";
import * as overview from "./overview.js";
import * as recovery from "./recovery.js";
import * as server from "./server.js";
import * as setup from "./setup.js";
import * as vault from "./vault.js";

/** Views by the first part of the address; those with a name stand in the menu. */
const VIEWS = {
  "": [overview, "Overview"],
  server: [server],
  add: [addServer, "Add a server", "operator"],
  recovery: [recovery, "Recovery"],
  order: [order],
  files: [files, "Files"],
  vault: [vault, "Vault"],
  appliance: [appliance, "Appliance"],
  events: [events, "Events"],
  access: [access, "Access"],
  setup: [setup],
};

const $ = (id) => document.getElementById(id);
let shown = null;
let turn = 0;

/** Where one is: parts of the address, and what stands behind the question mark. */
function place() {
  const [way, query] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = way.split("/").map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  return { parts, query: Object.fromEntries(new URLSearchParams(query || "")) };
}

async function show({ keepFocus = false } = {}) {
  const mine = ++turn;
  const { parts, query } = place();
  const [view] = VIEWS[parts[0]] || [];
  const main = $("main");
  shown?.close?.();
  shown = null;
  markMenu(parts[0]);
  closeMenu();
  fill(main, waiting());
  let made;
  try {
    if (!view) throw new Problem(404, { detail: "There is no such view", remedy: "the menu has those that there are" });
    made = await view.show({ parts: parts.slice(1), query, refresh: () => show({ keepFocus: true }) });
  } catch (problem) {
    if (mine !== turn) return;
    if (!(problem instanceof Problem)) console.error(problem);
    made = { title: "Not shown", element: failed(problem) };
  }
  if (mine !== turn) {
    made.close?.();
    return;
  }
  shown = made;
  const site = $("site-name").textContent;
  document.title = `${made.title} - ${site}`;
  fill(main, made.element);
  if (!keepFocus) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
    say(made.title);
  }
}

function failed(problem) {
  return h("div.card.trouble", { role: "alert" }, h("h1", "This could not be shown"),
    note("bad", problem instanceof Problem ? problem.words : String(problem.message)),
    h("button", { type: "button", class: "primary", onclick: () => show() }, "Try again"));
}

function markMenu(current) {
  const items = Object.entries(VIEWS).filter(([, [, name, role]]) => name && (!role || may(role)));
  fill($("views"), items.map(([key, [, name]]) => h("li", h("a", {
    href: `#/${key}`, "aria-current": key === current || (current === "order" && key === "recovery") || (current === "server" && key === "") ? "page" : null,
  }, name))));
}

function closeMenu() {
  document.body.classList.remove("menu-open");
  attribute($("menu"), "aria-expanded", "false");
}

const THEMES = ["auto", "light", "dark"];

function theme(wanted) {
  const value = THEMES.includes(wanted) ? wanted : "auto";
  attribute(document.documentElement, "data-theme", value);
  text($("theme"), `Theme: ${value}`);
  $("theme").onclick = () => {
    const next = THEMES[(THEMES.indexOf(value) + 1) % THEMES.length];
    keep("theme", next);
    theme(next);
    say(`Theme: ${next}`);
  };
}

function keep(name, value) {
  try {
    localStorage.setItem(`lifeboat-${name}`, value);
  } catch { /* A browser that keeps nothing asks the system each time. */ }
}

function kept(name) {
  try {
    return localStorage.getItem(`lifeboat-${name}`);
  } catch {
    return null;
  }
}

function connection(state, left) {
  const place = $("connection");
  document.body.classList.toggle("lost", state === "lost");
  if (state === "live") {
    place.replaceChildren();
    return;
  }
  let words = place.querySelector(".lost-words");
  if (!words) {
    words = h("span.lost-words", "Connection lost, trying again.");
    // The seconds are for eyes alone: a screen reader that reads each of them is no help.
    fill(place, icon("attention"), " ", words, h("span.lost-left", { "aria-hidden": "true" }),
      h("button", { type: "button", onclick: tryNow }, "Try now"));
  }
  text(place.querySelector(".lost-left"), left ? ` In ${seconds(left)}. What is shown may be old.` : " Now…");
}

/** Login over whatever is shown; resolves once somebody is in. */
async function overlay() {
  await dialog("Your session has ended", (close) => [
    h("p", "Log in again, and go on where you were. Nothing that you typed is lost."),
    loginForm(() => close(true), session.current?.name),
  ], { closable: false });
  await entered();
}

/** Login as the whole page, or first run where nobody owns the appliance yet. */
async function door() {
  $("app").hidden = true;
  const place = $("door");
  const stage = await call("GET", path(["setup"]), undefined, { quiet: true }).then(({ value }) => value.stage, () => "done");
  const status = await fetch("/status.json").then((answer) => answer.json(), () => ({}));
  await new Promise((done) => {
    const body = stage === "pair" ? setup.pairing(done) : loginForm(done);
    fill(place, h("main.door", h("div.door-card",
      h("div.door-brand", icon("boat"), h("div", h("h1", status.name || "Lifeboat"), quiet(`Lifeboat ${status.version || ""}`))),
      h("h2", stage === "pair" ? "Make this appliance yours" : "Log in"), body,
      h("details", h("summary", "Is this the right machine?"),
        h("p", "Its console shows the SHA-256 fingerprint of its certificate. Your browser shows the same:"),
        h("p.mono.wrap", status.certificate_sha256 || "not known")))));
    place.querySelector("input")?.focus();
  });
  place.replaceChildren();
  $("app").hidden = false;
}

/** What is the same for everybody, once somebody is in. */
async function entered() {
  text($("me"), session.current.name);
  $("me").title = `Logged in as ${session.current.name}, ${session.current.role}`;
  markMenu(place().parts[0]);
}

async function begin() {
  theme(kept("theme"));
  onLogin(async () => {
    if (session.current) await overlay();
    else {
      await door();
      await entered();
    }
  });
  try {
    await whoAmI();
  } catch (problem) {
    $("app").hidden = false;
    fill($("main"), failed(problem));
    return;
  }
  if (!session.current) await login();
  $("app").hidden = false;
  await entered();
  const stage = may("administrator") ? await call("GET", path(["setup"])).then(({ value }) => value.stage, () => "done") : "done";
  if (stage !== "done" && stage !== "pair") location.hash = "#/setup";
  watch(connection);
  // Whoever was away sees what happened meanwhile.
  let lost = false;
  watch((state) => {
    if (state === "lost") lost = true;
    else if (lost) {
      lost = false;
      shown?.refresh?.();
    }
  });
  jobs.begin($("jobs"), $("jobs-button"));
  listen((kind, data) => {
    if (kind === "overview") {
      clock(data.now_millis);
      if (data.name) text($("site-name"), data.name);
      if (data.jobs) jobs.all(data.jobs);
    }
    if (kind === "job") jobs.one(data);
    try {
      shown?.live?.(kind, data);
    } catch (error) {
      console.error(error);
    }
  });
  addEventListener("hashchange", () => show());
  setInterval(ageAll, 10_000);
  run();
  await show();
}

$("menu").onclick = () => {
  const open = document.body.classList.toggle("menu-open");
  attribute($("menu"), "aria-expanded", String(open));
};
$("me").onclick = () => accountMenu(refuse);
addEventListener("keydown", (event) => {
  if (event.key === "Escape") closeMenu();
});
begin();
