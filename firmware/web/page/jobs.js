// The strip of long work, on every view: what runs, how far it is, how it ended.

import { get, session } from "./api.js";
import { Keyed, attribute, fill, h, text, toast } from "./dom.js";
import { Bar, state } from "./parts.js";
import { counted, named, seconds } from "./words.js";

const known = new Map();
let list = null;
let strip = null;
let toggle = null;

/** Begins to show. */
export function begin(place, button) {
  strip = place;
  toggle = button;
  toggle.onclick = () => {
    strip.hidden = !strip.hidden;
    attribute(toggle, "aria-expanded", String(!strip.hidden));
  };
  const rows = h("ul.jobs");
  fill(strip, h("h2.unseen", "Long work"), rows);
  list = new Keyed(rows, (job) => job.id, make, update);
  if (session.current) get("jobs").then((jobs) => all(jobs.filter((job) => job.state === "running")), () => {});
}

function make() {
  const bar = new Bar("Progress");
  const title = h("strong");
  const words = h("span.quiet");
  const standing = h("span");
  const node = h("li", h("div.job-head", title, standing), bar.node, words);
  return { node, bar, title, words, standing, state: "" };
}

function update(held, job) {
  text(held.title, `${named(job.kind)}, ${job.object}`);
  text(held.words, job.words || "");
  if (held.state !== job.state) {
    held.state = job.state;
    fill(held.standing, state(job.state));
  }
  held.bar.node.hidden = job.state !== "running";
  attribute(held.bar.meter, "aria-label", `${named(job.kind)}, ${job.object}`);
  held.bar.set(job.progress, `, for ${seconds(job.took_millis / 1000)}`);
}

function draw() {
  const jobs = [...known.values()].sort((a, b) => b.began_millis - a.began_millis).slice(0, 20);
  list?.set(jobs);
  const running = jobs.filter((job) => job.state === "running").length;
  toggle.hidden = jobs.length === 0;
  if (!jobs.length) strip.hidden = true;
  const failed = jobs.filter((job) => job.state === "failed").length;
  text(toggle, running ? `${counted(running, "job")} under way` : failed ? `${counted(failed, "job")} failed` : `${counted(jobs.length, "job")} done`);
  toggle.className = running ? "busy" : failed ? "failed" : "";
}

/** All that run now; what ended elsewhere goes. */
export function all(jobs) {
  const running = new Set(jobs.map((job) => job.id));
  for (const [id, job] of known) if (job.state === "running" && !running.has(id)) known.delete(id);
  for (const job of jobs) known.set(job.id, job);
  draw();
}

/** One that changed. */
export function one(job) {
  const before = known.get(job.id);
  known.set(job.id, job);
  if (before?.state === "running" && job.state !== "running") {
    toast(`${named(job.kind)} of ${job.object}: ${job.words || named(job.state)}`, job.state === "done" ? "good" : "bad");
  }
  draw();
}
