// Numbers as people read them: sizes, durations, instants; and a word for each state.

const known = (say) => (value) => (value == null ? "–" : say(value));
const number = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const whole = new Intl.NumberFormat("en");
const [minutes, time, day] = [{ hour: "2-digit", minute: "2-digit" }, { hour: "2-digit", minute: "2-digit", second: "2-digit" }, { day: "numeric", month: "short" }];
const format = (options) => {
 const made = new Intl.DateTimeFormat("en-GB", options);
 return (value) => made.format(value);
};
const near = format({ ...day, ...minutes });
const dated = format({ ...day, year: "numeric", ...minutes });

export const MIB = 1024 ** 2;
let ahead = 0;

export function clock(millis) {
 if (millis) ahead = millis - Date.now();
}

export const now = () => Date.now() + ahead;
export const count = (value) => whole.format(value);
export const counted = (value, one) => `${count(value)} ${one}${value === 1 ? "" : "s"}`;

export const bytes = known((value) => {
 const unit = value < 1 ? 0 : Math.min(5, Math.floor(Math.log2(value) / 10));
 return `${number.format(value / 1024 ** unit)} ${["B", "KiB", "MiB", "GiB", "TiB", "PiB"][unit]}`;
});

export const pace = (value, limit) => (limit && value === 0 ? "no limit" : known((it) => `${bytes(it)}/s`)(value));

export const seconds = known((value) => {
 const all = Math.max(0, Math.round(value));
 const [days, hours, minutes, rest] = [Math.floor(all / 86400), Math.floor(all / 3600) % 24, Math.floor(all / 60) % 60, all % 60];
 if (days) return `${count(days)} d${hours && days < 10 ? ` ${hours} h` : ""}`;
 if (hours) return `${hours} h${minutes ? ` ${minutes} min` : ""}`;
 if (minutes) return `${minutes} min${rest && minutes < 5 ? ` ${rest} s` : ""}`;
 return `${rest} s`;
});

export const millis = known((value) => (value < 1000 ? `${Math.round(value)} ms` : seconds(value / 1000)));
export const micros = known((value) => (value < 1000 ? `${Math.round(value)} µs` : value < 1e6 ? `${number.format(value / 1000)} ms` : `${number.format(value / 1e6)} s`));
export const percent = (done, total) => (total ? Math.min(100, Math.floor((done * 100) / total)) : 0);
export const share = known((value) => `${number.format(value)} %`);

export const instant = known((value) => (Math.abs(now() - value) < 300 * 86400e3 ? near : dated)(value));
export const exactly = format({ weekday: "short", ...day, year: "numeric", ...time });
export const clockTime = format(time);
export const utc = (value) => `${new Date(value).toISOString().replace("T", " ").replace(/\.\d+Z$/, "")} UTC`;

export function ago(value) {
 if (value == null) return "never";
 const past = (now() - value) / 1000;
 if (past < -5) return `in ${seconds(-past)}`;
 return past < 5 ? "just now" : `${seconds(past)} ago`;
}

export function zoneWords(east) {
 const all = Math.abs(east);
 const two = (value) => String(value).padStart(2, "0");
 return `UTC${east < 0 ? "−" : "+"}${two(Math.floor(all / 60))}:${two(all % 60)}`;
}

const money = new Intl.NumberFormat("en", { style: "currency", currency: "USD" });
export const dollars = (thousandths) => money.format(thousandths / 1000);

// From worst to best.
export const WORST = ["bad", "attention", "working", "off", "good"];

const NAMES = {
 planned: "Planned failover", open: "Under way", cancelling: "Being taken back", cancelled: "Taken back", drilled: "Drill passed", drilled_badly: "Drill failed", begun: "Under way", done_badly: "Done, with failures",
 running: "Under way", crash: "crash-consistent", application: "application-consistent", fuzzy: "fuzzy (written to while read)",
};

export function named(value) {
 if (Object.hasOwn(NAMES, value)) return NAMES[value];
 const spaced = String(value ?? "").replace(/_|(?<=[a-z])(?=[A-Z])/g, " ").toLowerCase();
 return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}

const STANDS = { done: "good", drilled: "good", committed: "good", failed: "bad", drilled_badly: "bad", done_badly: "bad", up: "attention", waits: "attention", cancelled: "off" };
export const stateHealth = (state) => STANDS[state] || "working";
