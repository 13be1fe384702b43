// The calendar of bandwidth as rows that can be added, changed and removed.

import { fill, fresh, h } from "./dom.js";
import { button } from "./parts.js";

const DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MIB = 1024 * 1024;

/** An editor of a calendar: `node`, and `value()` as the API takes it. */
export function calendarEditor(calendar, readonly = false) {
  const rows = calendar.rows.map((row) => ({ ...row, days: new Set(row.days) }));
  let otherwise = calendar.otherwise_bytes_per_second;
  const place = h("div");
  const mib = (value, label, onchange) => {
    const id = fresh("mib");
    return h("span.inline-field", h("label", { for: id }, label), h("input", {
      id, type: "number", min: 0, step: "any", ".value": value / MIB, disabled: readonly,
      onchange: (event) => onchange(Math.max(0, Math.round(Number(event.target.value) * MIB))),
    }));
  };
  const hour = (row, key, label, from, to) => {
    const id = fresh("hour");
    return h("span.inline-field", h("label", { for: id }, label), h("select", {
      id, disabled: readonly, onchange: (event) => { row[key] = Number(event.target.value); },
    }, Array.from({ length: to - from + 1 }, (_, at) => h("option", { value: at + from, ".selected": row[key] === at + from }, `${String(at + from).padStart(2, "0")}:00`))));
  };
  const draw = () => fill(place, rows.map((row, at) => h("fieldset.calendar-row", { "data-field": `/rows/${at}` }, h("legend", `Row ${at + 1}`),
    h("span.days", DAYS.map((day, number) => {
      const id = fresh("day");
      return h("span.day", h("input", {
        type: "checkbox", id, ".checked": row.days.has(number), disabled: readonly,
        onchange: (event) => { if (event.target.checked) row.days.add(number); else row.days.delete(number); },
      }), h("label", { for: id }, day));
    })),
    hour(row, "from_hour", "from", 0, 23), hour(row, "to_hour", "to", 1, 24), mib(row.bytes_per_second, "MiB/s, 0 for no limit", (value) => { row.bytes_per_second = value; }),
    readonly ? null : button("Remove", () => { rows.splice(at, 1); draw(); }, { "aria-label": `Remove row ${at + 1}` }))),
  mib(otherwise, "Otherwise MiB/s, 0 for no limit", (value) => { otherwise = value; }),
  readonly ? null : button("Add a row", () => {
    rows.push({ days: new Set([0, 1, 2, 3, 4]), from_hour: 8, to_hour: 18, bytes_per_second: 10 * MIB });
    draw();
  }));
  draw();
  return {
    node: place,
    value: () => ({ rows: rows.map((row) => ({ ...row, days: [...row.days].sort() })), otherwise_bytes_per_second: otherwise }),
  };
}
