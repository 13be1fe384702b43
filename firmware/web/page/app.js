// The page begins here: who is logged in, which view the address names, what is live beside it.

import { admin, call, login, may, onLogin, path, Problem, session, whoAmI } from "./api.js";
import { $, ageAll, attribute, button, fill, h, icon, loud, mono, more, note, quiet, say, text, waiting } from "./dom.js";
import { dialog, why } from "./form.js";
import * as jobs from "./jobs.js";
import { listen, run, tryNow, watch } from "./live.js";
import { loginForm, menu as accountMenu } from "./login.js";
import { clock, seconds } from "./words.js";
import * as access from "./access.js";
import * as add from "./add.js";
import * as appliance from "./appliance.js";
import * as events from "./events.js";
import * as files from "./files.js";
import * as order from "./order.js";
import * as overview from "./overview.js";
import * as recovery from "./recovery.js";
import * as server from "./server.js";
import * as setup from "./setup.js";
import * as vault from "./vault.js";

const VIEWS = {
 "": [overview, "Overview"], server: [server], add: [add, "Add a server", "operator"], recovery: [recovery, "Recovery"], order: [order], files: [files, "Files"],
 vault: [vault, "Vault"], appliance: [appliance, "Appliance"], events: [events, "Events"], access: [access, "Access"], setup: [setup],
};

let shown = null;
let turn = 0;

function place() {
 const [way, query] = location.hash.replace(/^#\/?/, "").split("?");
 const parts = way.split("/").map((part) => {
  try {
   return decodeURIComponent(part);
  } catch {
   return part;
  }
 });
 return { parts, query: Object.fromEntries(new URLSearchParams(query)) };
}

async function show({ keepFocus = false } = {}) {
 const mine = ++turn;
 const { parts, query } = place();
 const [view] = VIEWS[parts[0]] || [];
 const main = $("main");
 shown?.close?.();
 shown = null;
 markMenu();
 openMenu(false);
 fill(main, waiting());
 let made;
 try {
  if (!view) throw new Problem(404, { detail: "There is no such view", remedy: "the menu has those that there are" });
  made = await view.show({ parts: parts.slice(1), query, refresh: () => show({ keepFocus: true }) });
 } catch (problem) {
  if (!(problem instanceof Problem)) console.error(problem);
  made = { title: "Not shown", element: failed(problem) };
 }
 if (mine !== turn) {
  made.close?.();
  return;
 }
 shown = made;
 document.title = `${made.title} - ${$("site-name").textContent}`;
 fill(main, made.element);
 if (!keepFocus) {
  scrollTo(0, 0);
  main.focus({ preventScroll: true });
  say(made.title);
 }
}

const failed = (problem) => h("div.card.trouble", { role: "alert" }, h("h1", "This could not be shown"), note("bad", why(problem)), button("Try again", () => show(), loud));

function markMenu() {
 const [at] = place().parts;
 fill($("views"), Object.entries(VIEWS).map(([key, [, name, role]]) => name && (!role || may(role)) && h("li", h("a", {
  href: `#/${key}`, "aria-current": key === ({ order: "recovery", server: "" }[at] ?? at) && "page",
 }, name))));
}

function openMenu(open) {
 document.body.classList.toggle("menu-open", open);
 attribute($("menu"), "aria-expanded", String(open));
}

function connection(state, left) {
 const place = $("connection");
 document.body.classList.toggle("lost", state === "lost");
 if (state === "live") return fill(place);
 // The seconds are for eyes alone: a screen reader that reads each of them is no help.
 if (!place.firstChild) fill(place, icon("attention"), " ", h("span", "Connection lost, trying again."), h("span.lost-left", { "aria-hidden": "true" }), button("Try now", tryNow));
 text(place.querySelector(".lost-left"), left ? ` In ${seconds(left)}. What is shown may be old.` : " Now…");
}

const overlay = () => dialog("Your session has ended", (close) => [
 h("p", "Log in again, and go on where you were. Nothing that you typed is lost."), loginForm(() => close(true), session.current.name),
], { closable: false });

async function door() {
 $("app").hidden = true;
 const place = $("door");
 const stage = await stageNow();
 const status = await fetch("/status.json").then((answer) => answer.json(), () => ({}));
 await new Promise((done) => {
  fill(place, h("main.door", h("div.door-card",
   h("div.door-brand", icon("boat"), h("div", h("h1", status.name || "Lifeboat"), quiet("Lifeboat ", status.version))),
   h("h2", stage === "pair" ? "Make this appliance yours" : "Log in"), stage === "pair" ? setup.pairing(done) : loginForm(done),
   more("Is this the right machine?",
    h("p", "Its console shows the SHA-256 fingerprint of its certificate. Your browser shows the same:"), mono(status.certificate_sha256 || "not known")))));
  place.querySelector("input").focus();
 });
 fill(place);
 $("app").hidden = false;
}

const stageNow = () => call("GET", path(["setup"]), undefined, { quiet: true }).then(({ value }) => value.stage, () => "done");

function entered() {
 text($("me"), session.current.name);
 $("me").title = `Logged in as ${session.current.name}, ${session.current.role}`;
 markMenu();
}

async function begin() {
 onLogin(async () => {
  await (session.current ? overlay() : door());
  entered();
 });
 try {
  await whoAmI();
 } catch (problem) {
  $("app").hidden = false;
  fill($("main"), failed(problem));
  return;
 }
 if (session.current) entered();
 else await login();
 $("app").hidden = false;
 if (admin() && !["done", "pair"].includes(await stageNow())) location.hash = "#/setup";
 // Whoever was away sees what happened meanwhile.
 let lost = false;
 watch((state, left) => {
  connection(state, left);
  if (lost && state === "live") shown?.refresh?.();
  lost = state === "lost";
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

$("menu").onclick = () => openMenu(!document.body.classList.contains("menu-open"));
$("me").onclick = accountMenu;
addEventListener("keydown", (event) => { if (event.key === "Escape") openMenu(false); });
begin();
