// The machine, its update, and how much may be sent at which hours.

import { admin, get, operator } from "./api.js";
import { Bar, button, card, facts, figure, fill, fresh, h, head, health, mono, note, quiet, strong, table } from "./dom.js";
import { asking, beside, change, field, form, wrong } from "./form.js";
import { MIB, bytes, pace, percent, seconds, zoneWords } from "./words.js";

export async function show() {
 const node = h("div");
 const set = async (machine) => fill(node, draw(machine, await get("appliance", "update"), set));
 const again = () => node.querySelector("form.changed") || get("appliance").then(set);
 await again();
 return { title: "Appliance", element: node, refresh: again, live: (kind, data) => { if (kind === "job" && data.kind === "update" && data.state !== "running") again(); } };
}

function draw(machine, update, set) {
 const hot = machine.disks.map((disk) => disk.celsius).filter((value) => value !== null);
 const editor = calendarEditor(machine.calendar, !operator());
 const calendar = form({
  label: "Calendar", submit: "Change it now", fields: editor.node,
  send: () => change("PUT", ["appliance", "calendar"], editor.value(), "The calendar is changed, and holds at once."),
  then: set,
 });
 // What somebody is typing is not drawn anew.
 const typing = ({ currentTarget }) => currentTarget.classList.add("changed");
 calendar.addEventListener("change", typing);
 calendar.buttons.hidden = !operator();
 return [
  head("Appliance", machine.name),
  h("dl.figures",
   figure("Version", machine.version, machine.role === "appliance" ? "the appliance" : "a program beside others"),
   figure("Up for", seconds(machine.uptime_seconds)),
   figure("Memory", `${percent(machine.memory_bytes - machine.memory_available_bytes, machine.memory_bytes)} % used`, `${bytes(machine.memory_available_bytes)} of ${bytes(machine.memory_bytes)} free`),
   figure("Hottest disk", hot.length ? `${Math.max(...hot)} °C` : "not known", !hot.length && "no sensor tells"),
   figure("Spool lasts", seconds(machine.spool_left_seconds), "without the vault")),
  card("Spool", {}, h("p", machine.spool || "There is none: what servers send goes straight into the vault."),
   machine.spool_bytes > 0 && new Bar("Spool").set({ done_bytes: machine.spool_used_bytes, total_bytes: machine.spool_bytes }).node),
  card("Disks", {}, table("Disks", ["Name", "Model", "Serial", ["Size", "number"], "Used for", ["Temperature", "number"], "State"], machine.disks.map((disk) => [
   strong(disk.name), disk.model || "–", mono(disk.serial || "–"), bytes(disk.bytes), disk.used || "nothing", disk.celsius === null ? "–" : `${disk.celsius} °C`,
   disk.trouble ? health("bad", disk.trouble) : health("good"),
  ]), "No disk is seen.")),
  card("Network cards", {}, linksTable(machine.links)),
  card("How much may be sent when", {}, quiet(`Hours are those of the appliance's zone, ${zoneWords(machine.zone_minutes)}. The first row that holds counts; otherwise ${pace(machine.calendar.otherwise_bytes_per_second, true)}.`), calendar),
  updateCard(update, typing, () => set(machine)),
  card("Certificate", {}, facts(["SHA-256", mono(machine.certificate_sha256)]),
   admin() && h("a.button", { href: "#/setup" }, "Network, vault, time, certificate")),
 ];
}

export const linksTable = (links) => table("Network cards", ["Name", "Hardware address", "Cable", "Speed", "Addresses"], links.map((link) => [
 strong(link.name), mono(link.mac), health(link.carrier ? "good" : "off", link.carrier ? "in" : "none"), link.speed_mbit === null ? "–" : `${link.speed_mbit} Mbit/s`, mono(link.addresses.join(", ") || "–"),
]), "No card is seen.");

function updateCard({ version, slot, on_trial, next, obstacle }, typing, again) {
 const put = form({
  submit: "Put it in",
  fields: [field("file", "A file that ends in .update", { kind: "file", accept: ".update" }), field("from", "Or its address", { kind: "url", placeholder: "https://" })],
  // The file goes as it lies there, however large: nobody holds it whole.
  send: ({ from }) => {
   const [file] = put.elements.file.files;
   if (!file && !from) throw wrong("/file", "Choose a file, or type an address.");
   return change(file ? "PUT" : "POST", ["appliance", "update"], file || { from }, file ? "It is sent: what is made of it stands among the jobs." : "It is got: see the jobs.");
  },
  then: again,
 });
 put.addEventListener("input", typing);
 return card("Update", { tools: admin() && next && asking("Restart into it", { title: `Restart into ${next}`, words: "Servers are without the appliance for a minute, and go on by themselves.", typed: "restart", send: () => change("POST", ["appliance", "restart"], undefined, "It starts anew.") }) },
  facts(["Runs", version], ["Slot", slot || "none"], next && ["Tried at the next start", next]),
  on_trial && note("attention", "This version is on trial: where it does not prove itself, the machine goes back."),
  obstacle ? note("attention", obstacle) : [quiet("Only what is signed and newer is put in, beside what runs."), admin() && put]);
}

const DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

export function calendarEditor(calendar, disabled = false) {
 const rows = calendar.rows.map((row) => ({ ...row, days: new Set(row.days) }));
 const place = h("div");
 const named = (pointer, id = fresh("calendar")) => ({ id, disabled, "data-field": pointer, "aria-describedby": `${id}-wrong` });
 const labelled = (label, tag, pointer, attributes, ...children) => {
  const told = named(pointer);
  return h("div.inline-field", h("label", { for: told.id }, label), h(tag, { ...told, ...attributes }, children), beside(told.id));
 };
 // What is no number is sent as it is, and refused: it is no «no limit».
 const mib = (held, key, label, where = "") => labelled(label, "input", `${where}/${key}`, {
  type: "number", min: 0, step: "any", ".value": held[key] && held[key] / MIB, onchange: ({ target }) => { held[key] = target.value && Math.round(target.value * MIB); },
 });
 const hour = (row, key, label, from, where) => labelled(label, "select", `${where}/${key}`, { onchange: ({ target }) => { row[key] = Number(target.value); } },
  Array.from({ length: 24 }, (_, at) => h("option", { value: at + from, ".selected": row[key] === at + from }, `${String(at + from).padStart(2, "0")}:00`)));
 const drawRow = (row, at) => {
  const where = `/rows/${at}`;
  const days = named(`${where}/days`);
  return h("fieldset.calendar-row", h("legend", `Row ${at + 1}`),
   h("div.days", DAYS.map((day, number) => h("label.day", h("input", {
    ...number ? { disabled } : days, type: "checkbox", ".checked": row.days.has(number), onchange: ({ target }) => row.days[target.checked ? "add" : "delete"](number),
   }), day)), beside(days.id)),
   hour(row, "from_hour", "from", 0, where), hour(row, "to_hour", "to", 1, where), mib(row, "bytes_per_second", "MiB/s, 0 for no limit", where),
   !disabled && button("Remove", () => { rows.splice(at, 1); draw(); }, { label: `Remove row ${at + 1}` }));
 };
 const draw = () => fill(place, rows.map(drawRow),
  mib(calendar, "otherwise_bytes_per_second", "Otherwise MiB/s, 0 for no limit"),
  !disabled && button("Add a row", () => {
  rows.push({ days: new Set([0, 1, 2, 3, 4]), from_hour: 8, to_hour: 18, bytes_per_second: 10 * MIB });
  draw();
 }));
 draw();
 return { node: place, value: () => ({ ...calendar, rows: rows.map((row) => ({ ...row, days: [...row.days].sort() })) }) };
}
