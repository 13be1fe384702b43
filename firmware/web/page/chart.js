// Figures over time as SVG. Every chart says in words what it shows.

import { attribute, h, quiet, s, text } from "./dom.js";
import { clockTime, instant, utc } from "./words.js";

const measured = (values) => values.filter((value) => value !== null);

export class Spark {
 constructor() {
  Object.assign(this, { over: s("path.over"), line: s("path.line"), target: s("path.target") });
  this.node = s("svg.spark", { viewBox: "0 0 120 28", role: "img", preserveAspectRatio: "none" }, this.over, this.target, this.line);
 }

 set(values, target, label) {
  const most = Math.max(target * 1.6, ...measured(values), 1);
  const x = (at) => (at * 117) / Math.max(1, values.length - 1) + 1;
  const y = (value) => (26 - (Math.min(value, most) * 24) / most).toFixed(1);
  attribute(this.line, "d", broken(values, x, y));
  attribute(this.target, "d", `M0 ${y(target)}H120`);
  // What lies over the target is filled too: colour is not all that tells.
  attribute(this.over, "d", values.map((value, at) => (value > target ? `M${x(at).toFixed(1)} ${y(target)}V${y(value)}` : "")).join(""));
  attribute(this.node, "aria-label", label);
 }
}

const broken = (values, x, y) => values.map((value, at) => (value === null ? "" : `${at && values[at - 1] !== null ? "L" : "M"}${x(at).toFixed(1)} ${y(value)}`)).join("");

const [WIDE, HIGH, LEFT, LOW] = [640, 170, 64, 22];

function steps(most, base) {
 const raw = most / 3;
 const scale = base ** Math.floor(Math.log(Math.max(raw, 1e-9)) / Math.log(base));
 const step = [1, 2, 3, 5, 6, 10, 15, 20, 30, 60, 128, 256, 512, 1024].map((part) => part * scale).find((part) => part >= raw) || raw;
 return [0, 1, 2, 3, 4].map((at) => at * step).filter((value) => value <= most + step * 0.01);
}

export function chart(name, { began_millis: began, step_seconds: step, values }, { say, target = 0, base }) {
 const known = measured(values);
 if (!known.length) return quiet("Nothing was measured in this time.");
 const end = values.length - 1;
 const highest = Math.max(...known);
 const most = Math.max(highest, target * 1.2) || 1;
 const marks = steps(most, base);
 const top = Math.max(most, marks.at(-1));
 const x = (at) => LEFT + (at * (WIDE - LEFT - 6)) / Math.max(1, end);
 const y = (value) => (HIGH - LOW - (value * (HIGH - LOW - 10)) / top).toFixed(1);
 const when = (at) => began + at * step * 1000;
 const long = values.length * step;
 const label = (at) => (long > 20 * 86400 ? instant(at).replace(/,? \d\d:\d\d$/, "") : long > 90000 ? instant(at) : clockTime(at).slice(0, 5));
 const summary = `${name}: newest ${say(known.at(-1))}, mean ${say(known.reduce((sum, value) => sum + value, 0) / known.length)}, highest ${say(highest)}${target ? `, target ${say(target)}` : ""}`;
 const [cross, dot, words] = [s("path.cross"), s("circle.dot", { r: 3.5, cx: -9 }), h("p.chart-words", { "aria-live": "polite" }, summary)];
 const line = broken(values, x, y);
 const area = line.split("M").slice(1).map((part) => `M${part.split(" ")[0]} ${y(0)}L${part}L${part.split("L").at(-1).split(" ")[0]} ${y(0)}Z`).join("");
 const svg = s("svg.chart", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", label: summary },
  marks.map((value) => [s("path.grid", { d: `M${LEFT} ${y(value)}H${WIDE}` }), s("text.axis.end", { x: LEFT - 8, y: Number(y(value)) + 4 }, say(value))]),
  ["", "middle", "middle", "middle", "end"].map((anchor, at) => s("text", { x: x((end * at) / 4), y: HIGH - 4, class: `axis ${anchor}` }, label(when((end * at) / 4)))),
  s("path.area", { d: area }), s("path.line", { d: line }), target > 0 && s("path.target", { d: `M${LEFT} ${y(target)}H${WIDE}` }), cross, dot);
 let chosen = end;
 const show = (at) => {
  chosen = Math.max(0, Math.min(end, at));
  const value = values[chosen];
  attribute(cross, "d", `M${x(chosen)} 4V${HIGH - LOW}`);
  attribute(dot, "cx", value === null ? -9 : x(chosen));
  attribute(dot, "cy", y(value));
  text(words, `${instant(when(chosen))}: ${value === null ? "not measured" : say(value)}`);
  words.title = utc(when(chosen));
 };
 const leave = () => {
  attribute(cross, "d", "");
  attribute(dot, "cx", -9);
  text(words, summary);
 };
 return h("div", {
  tabindex: "0", role: "group", label: `${name}, chart: left and right go along it`,
  onpointermove: ({ clientX }) => {
   const held = svg.getBoundingClientRect();
   show(Math.round(((((clientX - held.left) * WIDE) / held.width - LEFT) * end) / (WIDE - LEFT - 6)));
  },
  onpointerleave: leave,
  onblur: leave,
  onkeydown: (event) => {
   const move = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -1e6, End: 1e6 }[event.key];
   if (!move) return;
   event.preventDefault();
   show(chosen + move);
  },
 }, svg, words);
}

export function ofDays(days) {
 const began = days[0].at_millis;
 const day = (millis) => Math.round((millis - began) / 86400e3);
 const values = Array(day(days.at(-1).at_millis) + 1).fill(null);
 for (const { at_millis, bytes } of days) values[day(at_millis)] = bytes;
 return { began_millis: began, step_seconds: 86400, values };
}
