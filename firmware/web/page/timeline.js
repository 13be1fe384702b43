// A timeline of recovery points, zoomed and moved by mouse, finger or keys, however many points a day has.

import { get } from "./api.js";
import { attribute, button, fill, h, s, text } from "./dom.js";
import { bytes, clockTime, counted, exactly, instant, named, now } from "./words.js";

const [HIGH, BASE, PAGE, HOUR, DAY] = [96, 72, 500, 3600e3, 86400e3];
const ZOOMS = [["Hour", HOUR], ["Day", DAY], ["Week", 7 * DAY], ["Month", 31 * DAY]];
const STEPS = [60e3, 300e3, 900e3, HOUR, 3 * HOUR, 6 * HOUR, DAY, 2 * DAY, 7 * DAY, 30 * DAY, 90 * DAY];

export class Timeline {
 constructor(server, points, onpick) {
  Object.assign(this, { server, onpick, points: [...points].reverse(), more: points.length >= PAGE, wide: 800, marks: s("g"), axis: s("g"), hand: s("path.hand"), words: h("span.quiet") });
  const [newest, oldest] = [points[0].at_millis, points.at(-1).at_millis];
  this.span = Math.max(Math.min(newest - oldest, DAY), 600e3) * 1.04;
  this.from = newest - this.span * 0.98;
  this.svg = s("svg.timeline", { height: HIGH, "aria-hidden": "true" }, this.axis, this.marks, this.hand);
  this.slider = h("div.timeline-box", {
   tabindex: "0", role: "slider", label: `Recovery points of ${server}`, "aria-valuemin": 1,
   onkeydown: (event) => this.key(event),
   onpointerdown: ({ clientX: x, pointerId }) => {
    this.held = { x, from: this.from, moved: false };
    this.slider.setPointerCapture(pointerId);
   },
   onpointermove: ({ clientX }) => this.drag(clientX),
   onpointerup: ({ offsetX }) => {
    if (this.held && !this.held.moved) this.choose(this.nearest(this.at(offsetX)));
    this.held = null;
    this.older();
   },
   onpointercancel: () => { this.held = null; },
  }, this.svg);
  const group = (label, ...all) => h("div.choice", { role: "group", label }, all);
  const tool = (words, does, label) => button(words, does, { label });
  this.node = h("div", h("div.timeline-tools",
   group("How much is shown", tool("+", () => this.zoom(0.5), "Show less time"), tool("−", () => this.zoom(2), "Show more time"), ZOOMS.map(([words, span]) => tool(words, () => this.zoom(span / this.span)))),
   group("Go along", tool("◀", () => this.move(-0.6), "Earlier"), tool("▶", () => this.move(0.6), "Later"), tool("Newest", () => this.choose(Infinity))),
   h("label.jump", "Go to ", h("input", { type: "datetime-local", onchange: ({ target }) => this.goTo(new Date(target.value).getTime()) })),
   this.words),
  this.slider, h("p.legend.quiet", key("crash"), " crash-consistent ", key("application"), " application-consistent ",
   key("fuzzy"), " fuzzy ", key("pinned"), " kept for good. Keys: ← → one point, Page Up and Page Down a day, + and − zoom."));
  this.watcher = new ResizeObserver(([entry]) => {
   this.wide = Math.max(240, Math.floor(entry.contentRect.width));
   this.draw();
  });
  this.watcher.observe(this.slider);
  this.choose(Infinity);
 }

 add(newest) {
  const last = this.points.at(-1).at_millis;
  const fresh = newest.filter((point) => point.at_millis > last).reverse();
  if (!fresh.length) return;
  const follow = this.chosen === this.points.length - 1;
  this.points.push(...fresh);
  if (this.x(last) < this.wide + 1) this.from += fresh.at(-1).at_millis - last;
  if (follow) this.choose(Infinity);
  else this.draw();
 }

 x(at) {
  return ((at - this.from) * this.wide) / this.span;
 }

 at(x) {
  return this.from + (x * this.span) / this.wide;
 }

 choose(index) {
  this.chosen = Math.max(0, Math.min(this.points.length - 1, index));
  const point = this.points[this.chosen];
  const x = this.x(point.at_millis) / this.wide;
  if (x < 0 || x > 1) this.from = point.at_millis - this.span / 2;
  attribute(this.slider, "aria-valuetext", `${exactly(point.at_millis)}, ${named(point.consistency)}, ${bytes(point.stored_bytes)} stored`);
  this.draw();
  this.onpick(point);
  this.older();
 }

 after(at) {
  let [low, high] = [0, this.points.length];
  while (low < high) {
   const middle = (low + high) >> 1;
   if (this.points[middle].at_millis < at) low = middle + 1;
   else high = middle;
  }
  return low;
 }

 nearest(at) {
  const next = this.after(at);
  const far = (index) => Math.abs((this.points[index]?.at_millis ?? Infinity) - at);
  return far(next - 1) < far(next) ? next - 1 : next;
 }

 async goTo(at) {
  if (!Number.isFinite(at)) return;
  // Whatever lies between here and there is fetched, twenty pages at most.
  for (let page = 0; page < 20 && this.more && this.points[0].at_millis > at; page += 1) await this.fetch();
  this.choose(this.nearest(at));
 }

 key(event) {
  const day = (sign) => this.nearest(this.points[this.chosen].at_millis + sign * DAY);
  const zoom = { "+": 0.5, "=": 0.5, "-": 2 }[event.key];
  const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, Home: -Infinity, End: Infinity }[event.key];
  const days = { PageUp: -1, PageDown: 1 }[event.key];
  if (!(zoom || step || days) || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  if (zoom) this.zoom(zoom);
  else this.choose(step ? this.chosen + step : day(days));
 }

 drag(x) {
  const { held } = this;
  if (!held || (!held.moved && Math.abs(x - held.x) < 5)) return;
  held.moved = true;
  this.from = held.from - ((x - held.x) * this.span) / this.wide;
  this.hold();
 }

 zoom(by) {
  const part = (this.points[this.chosen].at_millis - this.from) / this.span;
  const kept = part >= 0 && part <= 1 ? part : 0.5;
  const middle = this.from + this.span * kept;
  this.span = Math.max(30e3, Math.min(this.span * by, 800 * DAY));
  this.from = middle - this.span * kept;
  this.hold();
  this.older();
 }

 move(parts) {
  this.from += this.span * parts;
  this.hold();
  this.older();
 }

 // What is to come is not shown.
 hold() {
  this.from = Math.min(this.from, now() - this.span * 0.97);
  this.draw();
 }

 async older() {
  while (this.more && !this.loading && (this.from < this.points[0].at_millis || this.chosen < 20) && this.points.length < 20_000) await this.fetch();
 }

 async fetch() {
  this.loading = true;
  const known = this.points[0].at_millis;
  const page = await fetchPoints(this.server, known - 1).catch(() => []);
  const added = page.filter((point) => point.at_millis < known).reverse();
  this.points.unshift(...added);
  this.chosen += added.length;
  this.more = page.length >= PAGE && added.length > 0;
  this.loading = false;
  this.draw();
 }

 draw() {
  const to = this.from + this.span;
  const [first, last] = [this.after(this.from), this.after(to)];
  for (const [name, value] of [["width", this.wide], ["viewBox", `0 0 ${this.wide} ${HIGH}`]]) attribute(this.svg, name, value);
  attribute(this.slider, "aria-valuemax", this.points.length);
  attribute(this.slider, "aria-valuenow", this.chosen + 1);
  fill(this.axis, this.drawAxis(to));
  fill(this.marks, (last - first) * 5 > this.wide ? this.drawColumns(first, last) : this.drawMarks(first, last));
  text(this.words, `${counted(last - first, "point")}, ${instant(this.from)} to ${instant(to)}`);
  const x = this.x(this.points[this.chosen].at_millis);
  attribute(this.hand, "d", x < -5 || x > this.wide + 5 ? "" : `M${x} 6V${BASE}M${x - 5} 1h10l-5 7z`);
 }

 drawAxis(to) {
  const step = STEPS.find((one) => (this.span / one) * 92 < this.wide) || STEPS.at(-1);
  // Days begin at the viewer's midnight.
  const shift = new Date(this.from).getTimezoneOffset() * 60e3;
  const parts = [s("path.grid", { d: `M0 ${BASE}H${this.wide}` })];
  for (let at = Math.ceil((this.from - shift) / step) * step + shift; at < to; at += step) {
   const x = this.x(at).toFixed(1);
   const words = step >= DAY ? instant(at).replace(/,? \d\d:\d\d$/, "") : clockTime(at).slice(0, 5);
   parts.push(s("path.grid", { d: `M${x} 10V${BASE + 4}` }), s("text.axis.middle", { x, y: HIGH - 8 }, words));
  }
  return parts;
 }

 // Where points lie closer than can be told apart, a column stands for how many there are.
 drawColumns(first, last) {
  const columns = Array.from({ length: Math.ceil(this.wide / 6) + 1 }, () => ({ all: 0 }));
  for (const { at_millis, consistency } of this.points.slice(first, last)) {
   const column = columns[Math.floor(this.x(at_millis) / 6)];
   column.all += 1;
   column.application ||= consistency === "application";
  }
  const most = Math.max(...columns.map(({ all }) => all));
  return columns.map(({ all, application }, at) => {
   const high = 8 + (all * 46) / most;
   return all > 0 && [s("rect.column", { x: at * 6 + 1, y: BASE - high, width: 4, height: high }), application && s("path.mark.application", { d: diamond(at * 6 + 3, BASE - high - 5, 3) })];
  });
 }

 drawMarks(first, last) {
  const points = this.points.slice(first, last);
  const high = (point) => Math.log2(2 + point.stored_bytes);
  const most = Math.max(...points.map(high));
  return points.map((point) => {
   const x = Math.round(this.x(point.at_millis) * 10) / 10;
   const y = Math.round(BASE - 14 - (32 * high(point)) / most);
   return [s(point === this.points[this.chosen] ? "path.stem.chosen" : "path.stem", { d: `M${x} ${BASE}V${y}` }), mark(point, x, y)];
  });
 }
}

const diamond = (x, y, r) => `M${x} ${y - r}l${r} ${r}l${-r} ${r}l${-r} ${-r}z`;

function mark({ consistency, pinned }, x, y) {
 if (pinned) return s("path.mark.pinned", { d: `M${x} ${y + 4}l-5 -9h10z` });
 if (consistency === "application") return s("path.mark.application", { d: diamond(x, y, 4.5) });
 return s("circle", { class: `mark ${consistency}`, cx: x, cy: y, r: 3 });
}

const key = (kind) => s("svg.timeline-key", { width: 12, height: 12, "aria-hidden": "true" }, mark({ consistency: kind, pinned: kind === "pinned" }, 6, 6));

export const fetchPoints = (server, before) => get("servers", server, "points", { before_millis: before, limit: PAGE });
