// What the appliance tells by itself: one stream of server-sent events, kept up, with its state for everybody to see.
//
// It is read by `fetch`, not by EventSource: so a silent line is noticed, and an ended session is told from a lost connection.

import { login, path } from "./api.js";

const SILENCE_MILLIS = 45_000;
const WAIT_SECONDS_MAX = 15;

const listeners = new Set();
const watchers = new Set();
let last = null;
let hurry = () => {};
let running = false;

/** Calls `listener(kind, data)` for everything that comes; answers how to stop. */
export function listen(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Calls `watcher(state)`: `live`, or `lost` with the seconds until it is tried again. */
export function watch(watcher) {
  watchers.add(watcher);
}

/** Tries again at once. */
export function tryNow() {
  hurry();
}

const tell = (state, seconds) => watchers.forEach((watcher) => watcher(state, seconds));

/** Goes on for ever. */
export async function run() {
  if (running) return;
  running = true;
  let failed = 0;
  addEventListener("online", () => hurry());
  for (;;) {
    const ended = await once(() => { failed = 0; });
    if (ended === "login") {
      await login();
      continue;
    }
    failed += 1;
    // The first time at once and without a word: a proxy or a restart ends every stream sooner or later.
    await pause(failed === 1 ? 0 : Math.min(2 ** (failed - 2), WAIT_SECONDS_MAX));
  }
}

/** Waits, and says how long. */
async function pause(seconds) {
  if (!seconds) return;
  const until = Date.now() + seconds * 1000;
  let stop = false;
  const wanted = new Promise((done) => { hurry = () => { stop = true; done(); }; });
  while (!stop && Date.now() < until) {
    tell("lost", Math.ceil((until - Date.now()) / 1000));
    await Promise.race([wanted, new Promise((done) => { setTimeout(done, 1000); })]);
  }
  hurry = () => {};
  tell("lost", 0);
}

/** One connection, from its beginning to its end: `login` where the session is over. */
async function once(opened) {
  const stop = new AbortController();
  let watchdog = setTimeout(() => stop.abort(), SILENCE_MILLIS);
  try {
    const headers = { accept: "text/event-stream" };
    if (last !== null) headers["last-event-id"] = last;
    const answer = await fetch(path(["events", "stream"]), { headers, signal: stop.signal, credentials: "same-origin" });
    if (answer.status === 401) return "login";
    if (!answer.ok) return "lost";
    opened();
    tell("live");
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let held = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return "lost";
      clearTimeout(watchdog);
      watchdog = setTimeout(() => stop.abort(), SILENCE_MILLIS);
      const messages = (held + value).split(/\r?\n\r?\n/);
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
  let kind = "message";
  const data = [];
  for (const line of message.split(/\r?\n/)) {
    const at = line.indexOf(":");
    if (at === 0) continue;
    const name = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? "" : line.slice(at + 1).replace(/^ /, "");
    if (name === "event") kind = value;
    else if (name === "data") data.push(value);
    else if (name === "id") last = value;
  }
  if (!data.length) return;
  let parsed;
  try {
    parsed = JSON.parse(data.join("\n"));
  } catch {
    return;
  }
  for (const listener of listeners) listener(kind, parsed);
}
