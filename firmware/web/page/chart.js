// Figures over time as SVG: a small line for a row, a chart with axes for a page. Every chart says in words what it shows.

import { h, s, text, attribute, quiet } from "./dom.js";
import { clockTime, instant, now, utc } from "./words.js";

/** A line of the last hour against its target, made once and brought up to date. */
export class Spark {
  constructor() {
    this.over = s("path.over");
    this.line = s("path.line");
    this.target = s("path.target");
    this.dot = s("circle.dot", { r: 2 });
    this.node = s("svg.spark", { viewBox: "0 0 120 28", role: "img", preserveAspectRatio: "none" }, this.over, this.target, this.line, this.dot);
  }

  set(values, target, label) {
    const known = values.filter((value) => value !== null);
    const most = Math.max(target * 1.6, ...known, 1);
    const x = (at) => (values.length > 1 ? (at * 117) / (values.length - 1) + 1 : 118);
    const y = (value) => 26 - (Math.min(value, most) * 24) / most;
    attribute(this.line, "d", broken(values, x, y));
    attribute(this.target, "d", `M0 ${y(target).toFixed(1)}H120`);
    // What lies over the target is filled too: colour is not all that tells.
    attribute(this.over, "d", values.map((value, at) => (value !== null && value > target
      ? `M${x(at).toFixed(1)} ${y(target).toFixed(1)}V${y(value).toFixed(1)}` : "")).join(""));
    const end = values.at(-1);
    attribute(this.dot, "cx", end === null || end === undefined ? -9 : 118);
    attribute(this.dot, "cy", y(end || 0).toFixed(1));
    attribute(this.node, "aria-label", label);
  }
}

/** A path with gaps where nothing was measured. */
function broken(values, x, y) {
  let path = "";
  let drawing = false;
  values.forEach((value, at) => {
    if (value === null) drawing = false;
    else {
      path += `${drawing ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
      drawing = true;
    }
  });
  return path;
}

const [WIDE, HIGH, LEFT, LOW] = [640, 170, 64, 22];

/** Round steps for an axis. */
function steps(most, base) {
  const raw = most / 3;
  const scale = base ** Math.floor(Math.log(Math.max(raw, 1e-9)) / Math.log(base));
  const step = [1, 2, 3, 5, 6, 10, 15, 20, 30, 60, 128, 256, 512, 1024].map((part) => part * scale).find((part) => part >= raw) || raw;
  return [0, 1, 2, 3, 4].map((at) => at * step).filter((value) => value <= most * 1.001 + step * 0.01);
}

/** A chart of one series. `say(value)` gives the words of a value; `target` draws a line; `base` is 1024 for bytes, 60 for time. */
export function chart(name, series, { say, target, base = 10 }) {
  const { began_millis: began, step_seconds: step, values } = series;
  const known = values.filter((value) => value !== null);
  if (!known.length) return quiet("Nothing was measured in this time.");
  const most = Math.max(...known, target ? target * 1.2 : 0, base === 10 ? 1 : 0) || 1;
  const marks = steps(most, base);
  const top = Math.max(most, marks.at(-1));
  const x = (at) => LEFT + (values.length > 1 ? (at * (WIDE - LEFT - 6)) / (values.length - 1) : 0);
  const y = (value) => HIGH - LOW - (value * (HIGH - LOW - 10)) / top;
  const when = (at) => began + at * step * 1000;
  const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
  const worst = Math.max(...known);
  const summary = `${name}: newest ${say(known.at(-1))}, mean ${say(mean)}, highest ${say(worst)}${target ? `, target ${say(target)}` : ""}`;
  const cross = s("path.cross");
  const dot = s("circle.dot", { r: 3.5, cx: -9 });
  const words = h("p.chart-words", summary);
  const line = broken(values, x, y);
  const svg = s("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, class: "chart", role: "img", "aria-label": summary },
    marks.map((value) => [s("path.grid", { d: `M${LEFT} ${y(value).toFixed(1)}H${WIDE}` }),
      s("text", { x: LEFT - 8, y: (y(value) + 4).toFixed(1), class: "axis end" }, say(value))]),
    [0, 0.25, 0.5, 0.75, 1].map((part) => s("text", {
      x: LEFT + part * (WIDE - LEFT - 6), y: HIGH - 4, class: `axis ${part === 0 ? "" : part === 1 ? "end" : "middle"}`,
    }, values.length * step > 20 * 86400 ? instant(when(part * (values.length - 1))).replace(/,? \d\d:\d\d$/, "") : values.length * step > 90000 ? instant(when(part * (values.length - 1))) : clockTime(when(part * (values.length - 1))).slice(0, 5))),
    s("path.area", { d: area(values, x, y) }),
    s("path.line", { d: line }),
    target ? s("path.target", { d: `M${LEFT} ${y(target).toFixed(1)}H${WIDE}` }) : null, cross, dot);
  let chosen = values.length - 1;
  const show = (at) => {
    chosen = Math.max(0, Math.min(values.length - 1, at));
    const value = values[chosen];
    attribute(cross, "d", `M${x(chosen).toFixed(1)} 4V${HIGH - LOW}`);
    attribute(dot, "cx", value === null ? -9 : x(chosen));
    attribute(dot, "cy", value === null ? -9 : y(value));
    text(words, `${instant(when(chosen))}: ${value === null ? "not measured" : say(value)}`);
    words.title = utc(when(chosen));
  };
  const leave = () => { attribute(cross, "d", ""); attribute(dot, "cx", -9); text(words, summary); };
  const box = h("div", {
    class: "chart-box", tabindex: "0", role: "group", "aria-label": `${name}, chart: left and right go along it`,
    onpointermove: (event) => {
      const held = svg.getBoundingClientRect();
      const at = ((event.clientX - held.left) * WIDE) / held.width - LEFT;
      show(Math.round((at * (values.length - 1)) / (WIDE - LEFT - 6)));
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
  words.setAttribute("aria-live", "polite");
  return box;
}

function area(values, x, y) {
  let path = "";
  let first = null;
  values.forEach((value, at) => {
    if (value !== null) {
      path += first === null ? `M${x(at).toFixed(1)} ${y(0).toFixed(1)}V${y(value).toFixed(1)}` : `L${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
      first = at;
    }
    if (first !== null && (value === null || at === values.length - 1)) {
      path += `V${y(0).toFixed(1)}Z`;
      first = null;
    }
  });
  return path;
}

/** A series of days as the vault tells its growth. */
export function ofDays(days) {
  if (!days.length) return { began_millis: now(), step_seconds: 86400, values: [] };
  const began = days[0].at_millis;
  const values = Array.from({ length: Math.round((days.at(-1).at_millis - began) / 86400e3) + 1 }, () => null);
  for (const day of days) values[Math.round((day.at_millis - began) / 86400e3)] = day.bytes;
  return { began_millis: began, step_seconds: 86400, values };
}
