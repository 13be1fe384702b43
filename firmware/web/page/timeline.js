// A timeline of recovery points to pick one from: zoomed and moved by mouse, finger or keys, however many points a day has.

import { get } from "./api.js";
import { attribute, fill, h, s, text } from "./dom.js";
import { bytes, counted, exactly, instant, named, now, utc, clockTime } from "./words.js";

const [HIGH, BASE] = [96, 72];
const PAGE = 500;
const DAY = 86400e3;
const ZOOMS = [["Hour", 3600e3], ["Day", DAY], ["Week", 7 * DAY], ["Month", 31 * DAY]];
/** Steps between two marks of the axis, as milliseconds. */
const STEPS = [60e3, 5 * 60e3, 15 * 60e3, 3600e3, 3 * 3600e3, 6 * 3600e3, DAY, 2 * DAY, 7 * DAY, 30 * DAY];

/** The timeline of a server; `onpick(point)` is called with each point that is chosen. */
export class Timeline {
  constructor(server, points, onpick) {
    Object.assign(this, { server, onpick, points: [...points].reverse(), more: points.length >= PAGE, chosen: null, wide: 800, loading: false });
    const end = this.points.length ? this.points.at(-1).at_millis : now();
    const oldest = this.points.length ? this.points[0].at_millis : end - DAY;
    // As much as is there, a day at most.
    const span = Math.max(Math.min(end - oldest, DAY), 600e3);
    this.view = [end - span * 1.02, end + span * 0.02];
    this.marks = s("g");
    this.axis = s("g");
    this.hand = s("path.hand");
    this.svg = s("svg.timeline", { height: HIGH, "aria-hidden": "true" }, this.axis, this.marks, this.hand);
    this.slider = h("div", {
      class: "timeline-box", tabindex: "0", role: "slider", "aria-label": `Recovery points of ${server}`, "aria-orientation": "horizontal",
      "aria-valuemin": 1, "aria-valuemax": Math.max(1, this.points.length), "aria-valuenow": 1,
      onkeydown: (event) => this.key(event),
      onwheel: (event) => this.wheel(event),
      onpointerdown: (event) => this.press(event),
    }, this.svg);
    this.span = h("span.quiet");
    this.buttons = h("div.timeline-tools",
      h("div.choice", { role: "group", "aria-label": "How much is shown" },
        h("button", { type: "button", "aria-label": "Show less time", onclick: () => this.zoom(0.5) }, "+"),
        h("button", { type: "button", "aria-label": "Show more time", onclick: () => this.zoom(2) }, "−"),
        ZOOMS.map(([words, span]) => h("button", { type: "button", onclick: () => this.zoomTo(span) }, words))),
      h("div.choice", { role: "group", "aria-label": "Go along" },
        h("button", { type: "button", "aria-label": "Earlier", onclick: () => this.move(-0.6) }, "◀"),
        h("button", { type: "button", "aria-label": "Later", onclick: () => this.move(0.6) }, "▶"),
        h("button", { type: "button", onclick: () => this.choose(this.points.length - 1, true) }, "Newest")),
      h("label.jump", "Go to ", h("input", { type: "datetime-local", onchange: (event) => this.goTo(new Date(event.target.value).getTime()) })),
      this.span);
    this.legend = h("p.legend.quiet", key("crash"), " crash-consistent ", key("application"), " application-consistent ",
      key("fuzzy"), " fuzzy ", key("pinned"), " kept for good. Keys: ← → one point, Page Up and Page Down a day, + and − zoom.");
    this.node = h("div", this.buttons, this.slider, this.legend);
    this.watcher = new ResizeObserver(([entry]) => {
      this.wide = Math.max(240, Math.floor(entry.contentRect.width));
      this.draw();
    });
    this.watcher.observe(this.slider);
    if (this.points.length) this.choose(this.points.length - 1, false);
    else this.draw();
  }

  close() {
    this.watcher.disconnect();
  }

  /** Points that came since; `newest` first. */
  add(newest) {
    const last = this.points.at(-1)?.at_millis ?? 0;
    const fresh = newest.filter((point) => point.at_millis > last).reverse();
    if (!fresh.length) return;
    const atEnd = this.points.length === 0 || this.x(last) < this.wide + 1;
    const follow = this.chosen === this.points.length - 1;
    this.points.push(...fresh);
    const on = fresh.at(-1).at_millis - (last || fresh[0].at_millis);
    if (atEnd) this.view = this.view.map((edge) => edge + on);
    if (follow) this.choose(this.points.length - 1, false);
    else this.draw();
  }

  x(at) {
    return ((at - this.view[0]) * this.wide) / (this.view[1] - this.view[0]);
  }

  at(x) {
    return this.view[0] + (x * (this.view[1] - this.view[0])) / this.wide;
  }

  choose(index, reveal) {
    if (!this.points.length) return;
    this.chosen = Math.max(0, Math.min(this.points.length - 1, index));
    const point = this.points[this.chosen];
    const [from, to] = this.view;
    const margin = (to - from) * 0.04;
    if (reveal && (point.at_millis < from + margin || point.at_millis > to - margin)) this.center(point.at_millis);
    attribute(this.slider, "aria-valuemax", this.points.length);
    attribute(this.slider, "aria-valuenow", this.chosen + 1);
    attribute(this.slider, "aria-valuetext", `${exactly(point.at_millis)}, ${named(point.consistency)}, ${bytes(point.stored_bytes)} stored`);
    this.draw();
    this.onpick(point);
    if (this.chosen < 20) this.older();
  }

  /** The first point at or after an instant. */
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
    if (next <= 0) return 0;
    if (next >= this.points.length) return this.points.length - 1;
    return at - this.points[next - 1].at_millis < this.points[next].at_millis - at ? next - 1 : next;
  }

  async goTo(at) {
    if (!Number.isFinite(at) || !this.points.length) return;
    // Whatever lies between here and there is fetched, twenty pages at most.
    for (let page = 0; page < 20 && this.more && this.points[0].at_millis > at; page += 1) await this.older();
    this.center(at);
    this.choose(this.nearest(at), true);
  }

  center(at) {
    const half = (this.view[1] - this.view[0]) / 2;
    this.view = [at - half, at + half];
  }

  key(event) {
    const day = (sign) => this.choose(this.nearest(this.points[this.chosen].at_millis + sign * DAY), true);
    const does = {
      ArrowLeft: () => this.choose(this.chosen - 1, true), ArrowRight: () => this.choose(this.chosen + 1, true),
      ArrowDown: () => this.choose(this.chosen - 1, true), ArrowUp: () => this.choose(this.chosen + 1, true),
      PageUp: () => day(-1), PageDown: () => day(1), Home: () => this.choose(0, true), End: () => this.choose(this.points.length - 1, true),
      "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2),
    }[event.key];
    if (!does || this.chosen === null || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    does();
  }

  wheel(event) {
    // Without a key the page scrolls, as everywhere.
    if (!event.ctrlKey && !event.shiftKey) return;
    event.preventDefault();
    if (event.shiftKey) this.move(Math.sign(event.deltaY || event.deltaX) * 0.1);
    else this.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.at(event.clientX - this.svg.getBoundingClientRect().left));
  }

  press(event) {
    const left = this.svg.getBoundingClientRect().left;
    const [began, view] = [event.clientX, [...this.view]];
    let moved = false;
    const stop = new AbortController();
    addEventListener("pointermove", (move) => {
      const by = move.clientX - began;
      if (Math.abs(by) > 4) moved = true;
      if (!moved) return;
      const time = (by * (view[1] - view[0])) / this.wide;
      this.view = [view[0] - time, view[1] - time];
      this.hold();
    }, { signal: stop.signal });
    for (const end of ["pointerup", "pointercancel"]) {
      addEventListener(end, (up) => {
        stop.abort();
        if (!moved && end === "pointerup") this.choose(this.nearest(this.at(up.clientX - left)), false);
        else this.older();
      }, { signal: stop.signal });
    }
  }

  zoom(by, around = this.chosen === null ? (this.view[0] + this.view[1]) / 2 : this.points[this.chosen].at_millis) {
    const [from, to] = this.view;
    const inside = around >= from && around <= to ? around : (from + to) / 2;
    const span = Math.max(30e3, Math.min((to - from) * by, 800 * DAY));
    const part = (inside - from) / (to - from);
    this.view = [inside - span * part, inside + span * (1 - part)];
    this.hold();
    this.older();
  }

  zoomTo(span) {
    this.zoom(span / (this.view[1] - this.view[0]));
  }

  move(parts) {
    const by = (this.view[1] - this.view[0]) * parts;
    this.view = this.view.map((edge) => edge + by);
    this.hold();
    this.older();
  }

  /** What is to come is not shown. */
  hold() {
    const [from, to] = this.view;
    const over = to - now() - (to - from) * 0.03;
    if (over > 0) this.view = [from - over, to - over];
    this.draw();
  }

  /** Fetches older points while the left edge lies before the oldest that is known. */
  async older() {
    if (this.loading || !this.more || !this.points.length) return;
    if (this.view[0] > this.points[0].at_millis && this.chosen >= 20) return;
    this.loading = true;
    try {
      const before = this.points[0].at_millis - 1;
      const page = await fetchPoints(this.server, before);
      const known = this.points[0].at_millis;
      const added = page.filter((point) => point.at_millis < known).reverse();
      this.points.unshift(...added);
      if (this.chosen !== null) this.chosen += added.length;
      this.more = page.length >= PAGE && added.length > 0;
      attribute(this.slider, "aria-valuemax", this.points.length);
      attribute(this.slider, "aria-valuenow", this.chosen + 1);
    } catch {
      this.more = false;
    }
    this.loading = false;
    this.draw();
    // A month on the screen is several pages.
    if (this.more && this.view[0] < this.points[0].at_millis && this.points.length < 20_000) setTimeout(() => this.older(), 30);
  }

  draw() {
    attribute(this.svg, "width", this.wide);
    attribute(this.svg, "viewBox", `0 0 ${this.wide} ${HIGH}`);
    this.drawAxis();
    this.drawMarks();
    const [from, to] = this.view;
    const inside = this.after(to) - this.after(from);
    text(this.span, `${counted(inside, "point")}, ${instant(from)} to ${instant(to)}${this.loading ? ", loading older ones" : ""}`);
    const chosen = this.points[this.chosen];
    const x = chosen ? this.x(chosen.at_millis) : -50;
    attribute(this.hand, "d", x < -5 || x > this.wide + 5 ? "" : `M${x.toFixed(1)} 6V${BASE}M${(x - 5).toFixed(1)} 1h10l-5 7z`);
  }

  drawAxis() {
    const [from, to] = this.view;
    const step = STEPS.find((one) => ((to - from) / one) * 92 < this.wide) || 90 * DAY;
    // Days begin at the viewer's midnight.
    const shift = new Date(from).getTimezoneOffset() * 60e3;
    const parts = [s("path.grid", { d: `M0 ${BASE}H${this.wide}` })];
    for (let at = Math.ceil((from - shift) / step) * step + shift; at < to; at += step) {
      const x = this.x(at).toFixed(1);
      const words = step >= DAY ? instant(at).replace(/,? \d\d:\d\d$/, "") : clockTime(at).slice(0, 5);
      parts.push(s("path.grid", { d: `M${x} 10V${BASE + 4}` }), s("text.axis.middle", { x, y: HIGH - 8 }, words));
    }
    fill(this.axis, parts);
  }

  drawMarks() {
    const [from, to] = this.view;
    const [first, last] = [this.after(from), this.after(to)];
    const held = [];
    // Where points lie closer than can be told apart, a column stands for how many there are.
    if ((last - first) * 5 > this.wide) {
      const columns = Array.from({ length: Math.ceil(this.wide / 6) }, () => [0, 0]);
      for (let at = first; at < last; at += 1) {
        const column = columns[Math.min(columns.length - 1, Math.floor(this.x(this.points[at].at_millis) / 6))];
        column[0] += 1;
        if (this.points[at].consistency === "application") column[1] += 1;
      }
      const most = Math.max(...columns.map(([all]) => all), 1);
      columns.forEach(([all, application], at) => {
        if (!all) return;
        const high = 8 + (all * 46) / most;
        held.push(s("rect.column", { x: at * 6 + 1, y: BASE - high, width: 4, height: high }));
        if (application) held.push(s("path.mark.application", { d: diamond(at * 6 + 3, BASE - high - 5, 3) }));
      });
    } else {
      const most = Math.max(1, ...this.points.slice(first, last).map((point) => Math.log2(1 + point.stored_bytes)));
      for (let at = first; at < last; at += 1) {
        const point = this.points[at];
        const x = this.x(point.at_millis);
        const high = 14 + (32 * Math.log2(1 + point.stored_bytes)) / most;
        held.push(s("path", { class: `stem ${point.consistency}${at === this.chosen ? " chosen" : ""}`, d: `M${x.toFixed(1)} ${BASE}V${(BASE - high).toFixed(1)}` }));
        held.push(mark(point, x, BASE - high));
      }
    }
    fill(this.marks, held);
  }
}

function diamond(x, y, r) {
  return `M${x} ${y - r}l${r} ${r}l${-r} ${r}l${-r} ${-r}z`;
}

function mark(point, x, y) {
  const kind = point.consistency;
  const at = x.toFixed(1);
  if (point.pinned) return s("path.mark.pinned", { d: `M${at} ${y + 4}l-5 -9h10z` });
  if (kind === "application") return s("path.mark.application", { d: diamond(Number(at), y, 4.5) });
  return s("circle", { class: `mark ${kind}`, cx: at, cy: y, r: 3 });
}

function key(kind) {
  const point = { consistency: kind, pinned: kind === "pinned" ? "y" : null };
  return s("svg", { width: 12, height: 12, class: "timeline-key", "aria-hidden": "true" }, mark(point, 6, 6));
}

/** A page of points, the newest first. */
export function fetchPoints(server, before) {
  return get("servers", server, "points", { before_millis: before, limit: PAGE });
}

/** What there is to know of a point, in pairs for `facts`. */
export function pointFacts(point) {
  return [
    ["Instant", h("time", { title: utc(point.at_millis), datetime: new Date(point.at_millis).toISOString() }, exactly(point.at_millis))],
    ["Kind", named(point.consistency)],
    ["Read, stored", `${bytes(point.read_bytes)}, ${bytes(point.stored_bytes)}`],
  ];
}
