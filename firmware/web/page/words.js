// Numbers as people read them: sizes, durations, instants; and a word for each state.

const NONE = "–";
const number = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const whole = new Intl.NumberFormat("en");
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
const dated = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });
const near = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const timed = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const full = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** The viewer's time zone. */
export const ZONE = zone;

/** How far the appliance's clock is ahead of the viewer's. */
let ahead = 0;

/** Learns the appliance's clock. */
export function clock(millis) {
  if (millis) ahead = millis - Date.now();
}

/** The appliance's now. */
export function now() {
  return Date.now() + ahead;
}

/** A count with its thousands apart. */
export function count(value) {
  return whole.format(value);
}

/** A count of things. */
export function counted(value, one, many = `${one}s`) {
  return `${whole.format(value)} ${value === 1 ? one : many}`;
}

/** Bytes in binary units. */
export function bytes(value) {
  if (value === null || value === undefined) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  let left = value;
  while (left >= 1024 && unit < units.length - 1) {
    left /= 1024;
    unit += 1;
  }
  return `${number.format(left)} ${units[unit]}`;
}

/** Bytes a second; 0 is no limit where `limit` is true. */
export function pace(value, limit = false) {
  if (limit && value === 0) return "no limit";
  return value === null || value === undefined ? NONE : `${bytes(value)}/s`;
}

/** A duration of seconds. */
export function seconds(value) {
  if (value === null || value === undefined) return NONE;
  const all = Math.max(0, Math.round(value));
  const [days, hours, minutes, rest] = [Math.floor(all / 86400), Math.floor(all / 3600) % 24, Math.floor(all / 60) % 60, all % 60];
  if (days >= 10) return `${whole.format(days)} d`;
  if (days) return hours ? `${days} d ${hours} h` : `${days} d`;
  if (hours) return minutes ? `${hours} h ${minutes} min` : `${hours} h`;
  if (minutes) return rest && minutes < 5 ? `${minutes} min ${rest} s` : `${minutes} min`;
  return `${rest} s`;
}

/** A duration of milliseconds. */
export function millis(value) {
  if (value === null || value === undefined) return NONE;
  return value < 1000 ? `${Math.round(value)} ms` : seconds(value / 1000);
}

/** A duration of microseconds. */
export function micros(value) {
  if (value === null || value === undefined) return NONE;
  if (value < 1000) return `${Math.round(value)} µs`;
  return value < 1e6 ? `${number.format(value / 1000)} ms` : `${number.format(value / 1e6)} s`;
}

/** Per cent of a whole. */
export function percent(done, total) {
  return total ? Math.min(100, Math.floor((done * 100) / total)) : 0;
}

/** Per cent as text. */
export function share(value) {
  return value === null || value === undefined ? NONE : `${number.format(value)} %`;
}

/** An instant in the viewer's zone. */
export function instant(value) {
  if (value === null || value === undefined) return NONE;
  return (Math.abs(now() - value) < 300 * 86400e3 ? near : dated).format(value);
}

/** An instant to the second, in the viewer's zone. */
export function exactly(value) {
  return full.format(value);
}

/** The time of day to the second. */
export function clockTime(value) {
  return timed.format(value);
}

/** The same instant in UTC, for hovering. */
export function utc(value) {
  return `${new Date(value).toISOString().replace("T", " ").replace(/\.\d+Z$/, "")} UTC`;
}

/** How long ago. */
export function ago(value) {
  if (value === null || value === undefined) return "never";
  const past = (now() - value) / 1000;
  if (past < -5) return `in ${seconds(-past)}`;
  return past < 5 ? "just now" : `${seconds(past)} ago`;
}

/** Money from thousandths of a dollar. */
export function dollars(value) {
  return `$${(value / 1000).toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
}

/** A word for each health. */
export const HEALTH = { good: "Good", working: "Working", attention: "Attention", bad: "Bad", off: "Off" };

/** From worst to best. */
export const WORST = ["bad", "attention", "working", "off", "good"];

/** Words for what the API calls something. */
const NAMES = {
  drill: "Drill", failover: "Failover", planned: "Planned failover", open: "Under way", up: "Up", changing: "Changing",
  cancelling: "Being taken back", committed: "Committed", cancelled: "Taken back", drilled: "Drill passed", drilled_badly: "Drill failed",
  waits: "Waits", begun: "Under way", done: "Done", failed: "Failed", clearing: "Clearing", done_badly: "Done, with failures",
  running: "Under way", crash: "crash-consistent", application: "application-consistent", fuzzy: "fuzzy (written to while read)",
  verify: "Verify", prune: "Prune", restore: "Restore", viewer: "Viewer", operator: "Operator", administrator: "Administrator",
};

/** The word for something of the API; what has none is shown with its underscores as spaces. */
export function named(value) {
  if (Object.hasOwn(NAMES, value)) return NAMES[value];
  const spaced = String(value ?? "").replace(/_|(?<=[a-z])(?=[A-Z])/g, " ").toLowerCase();
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}

/** How a state of orders, runs and jobs fares. */
export function stateHealth(state) {
  if (["done", "drilled", "committed"].includes(state)) return "good";
  if (["failed", "drilled_badly", "done_badly"].includes(state)) return "bad";
  if (["up", "waits"].includes(state)) return "attention";
  return state === "cancelled" ? "off" : "working";
}
