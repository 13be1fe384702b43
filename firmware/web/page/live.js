// What the appliance tells by itself: one stream of server-sent events, kept up.
//
// By `fetch`, not EventSource: a silent line is noticed, an ended session is no lost connection.

import { login, path } from "./api.js";

const SILENCE_MILLIS = 45_000;
const WAIT_SECONDS_MAX = 15;

let last = null;
let hurry = () => {};
let listener = null;
let watcher = null;

export const listen = (told) => { listener = told; };

export const watch = (watching) => { watcher = watching; };

export const tryNow = () => hurry();

export async function run() {
 let failed = 0;
 addEventListener("online", tryNow);
 for (;;) {
  const ended = await once(() => { failed = 0; });
  if (ended === "login") {
   await login();
   continue;
  }
  failed += 1;
  // The first time at once and without a word: a proxy or a restart ends every stream sooner or later.
  if (failed > 1) await pause(Math.min(2 ** (failed - 2), WAIT_SECONDS_MAX));
 }
}

async function pause(seconds) {
 const until = Date.now() + seconds * 1000;
 let stop = false;
 const wanted = new Promise((done) => { hurry = () => { stop = true; done(); }; });
 while (!stop && Date.now() < until) {
  watcher("lost", Math.ceil((until - Date.now()) / 1000));
  await Promise.race([wanted, new Promise((done) => { setTimeout(done, 1000); })]);
 }
 watcher("lost", 0);
}

async function once(opened) {
 const stop = new AbortController();
 let watchdog;
 const heard = () => {
  clearTimeout(watchdog);
  watchdog = setTimeout(() => stop.abort(), SILENCE_MILLIS);
 };
 heard();
 try {
  const headers = { accept: "text/event-stream" };
  if (last !== null) headers["last-event-id"] = last;
  const answer = await fetch(path(["events", "stream"]), { headers, signal: stop.signal });
  if (answer.status === 401) return "login";
  if (!answer.ok) return "lost";
  opened();
  watcher("live");
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
   const { done, value } = await reader.read();
   if (done) return "lost";
   heard();
   const messages = (held + value).split("\n\n");
   held = messages.pop();
   messages.forEach(deliver);
  }
 } catch {
  return "lost";
 } finally {
  clearTimeout(watchdog);
 }
}

function deliver(message) {
 const told = {};
 for (const line of message.split("\n")) {
  const [, name, value] = line.match(/^(\w+): ?(.*)$/) || [];
  if (name) told[name] = value;
 }
 if (told.id) last = told.id;
 if (told.data) listener(told.event, JSON.parse(told.data));
}
