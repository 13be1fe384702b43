// The strip of long work, on every view: what runs, how far it is, how it ended.

import { get } from "./api.js";
import { attribute, Bar, fill, h, Keyed, state, strong, text, toast } from "./dom.js";
import { counted, named, seconds } from "./words.js";

const known = new Map();
const rows = h("ul.jobs");
const list = new Keyed(rows, (job) => job.id, make, update);
let strip = null;
let toggle = null;

export function begin(place, button) {
 strip = place;
 toggle = button;
 toggle.onclick = () => {
  strip.hidden = !strip.hidden;
  attribute(toggle, "aria-expanded", String(!strip.hidden));
 };
 fill(strip, h("h2.unseen", "Long work"), rows);
 get("jobs").then((jobs) => all(jobs.filter((job) => job.state === "running")), () => {});
}

function make(job) {
 const what = `${named(job.kind)}, ${job.object}`;
 const [bar, words, standing] = [new Bar(what), h("span.quiet"), h("span")];
 return { node: h("li", h("div.job-head", strong(what), standing), bar.node, words), bar, words, standing };
}

function update(held, job) {
 text(held.words, job.words || "");
 if (held.state !== job.state) fill(held.standing, state(job.state));
 held.state = job.state;
 held.bar.node.hidden = job.state !== "running";
 held.bar.set(job.progress, `, for ${seconds(job.took_millis / 1000)}`);
}

function draw() {
 const jobs = [...known.values()].sort((a, b) => b.began_millis - a.began_millis).slice(0, 20);
 list.set(jobs);
 toggle.hidden = !jobs.length;
 if (!jobs.length) strip.hidden = true;
 const [running, failed] = ["running", "failed"].map((state) => jobs.filter((job) => job.state === state).length);
 const [number, words] = running ? [running, " under way"] : failed ? [failed, " failed"] : [jobs.length, " done"];
 if (toggle.textContent !== counted(number, "job") + words) fill(toggle, counted(number, "job"), h("span.wide-only", words));
 toggle.className = running ? "busy" : failed ? "failed" : "";
}

export function all(jobs) {
 const running = new Set(jobs.map((job) => job.id));
 for (const [id, job] of known) if (job.state === "running" && !running.has(id)) known.delete(id);
 for (const job of jobs) known.set(job.id, job);
 draw();
}

export function one(job) {
 if (known.get(job.id)?.state === "running" && job.state !== "running") {
  toast(`${named(job.kind)} of ${job.object}: ${job.words || named(job.state)}`, job.state === "done" ? "good" : "bad");
 }
 known.set(job.id, job);
 draw();
}
