// The machine: disks, links, spool, certificate, and how much may be sent at which hours.

import { get, may } from "./api.js";
import { fill, h, toast, quiet, mono, strong } from "./dom.js";
import { calendarEditor } from "./calendar.js";
import { change, form } from "./form.js";
import { Bar, card, facts, figure, head, health, table } from "./parts.js";
import { bytes, pace, percent, seconds } from "./words.js";

/** The view. */
export async function show() {
  const node = h("div");
  const set = (machine) => fill(node, draw(machine, set));
  set(await get("appliance"));
  return { title: "Appliance", element: node, refresh: () => (node.querySelector("form.changed") ? null : get("appliance").then(set)) };
}

function zone(minutes) {
  const sign = minutes < 0 ? "−" : "+";
  const all = Math.abs(minutes);
  return `UTC${sign}${String(Math.floor(all / 60)).padStart(2, "0")}:${String(all % 60).padStart(2, "0")}`;
}

function draw(machine, set) {
  const hot = machine.disks.map((disk) => disk.celsius).filter((value) => value !== null);
  const editor = calendarEditor(machine.calendar, !may("operator"));
  const calendar = form({
    label: "Calendar", submit: "Change it now", fields: editor.node,
    send: () => change("PUT", ["appliance", "calendar"], editor.value()),
    then: (next) => { toast("The calendar is changed, and holds at once."); if (next) set(next); },
  });
  calendar.addEventListener("change", () => calendar.classList.add("changed"));
  if (!may("operator")) calendar.querySelector(".buttons").hidden = true;
  const spool = new Bar("Spool").set({ done_bytes: machine.spool_used_bytes, total_bytes: machine.spool_bytes, left_seconds: null });
  return [
    head("Appliance", machine.name),
    h("dl.figures",
      figure("Version", machine.version, machine.role === "appliance" ? "the appliance" : "a program beside others"),
      figure("Up for", seconds(machine.uptime_seconds)),
      figure("Memory", `${percent(machine.memory_bytes - machine.memory_available_bytes, machine.memory_bytes)} % used`, `${bytes(machine.memory_available_bytes)} of ${bytes(machine.memory_bytes)} free`),
      figure("Hottest disk", hot.length ? `${Math.max(...hot)} °C` : "not known", hot.length ? "" : "no sensor tells"),
      figure("Spool lasts", machine.spool_left_seconds === null ? "–" : seconds(machine.spool_left_seconds), "without the vault")),
    card("Spool", {}, h("p", machine.spool || "There is none: what servers send goes straight into the vault."), machine.spool_bytes ? spool.node : null),
    card("Disks", {}, table("Disks", ["Name", "Model", "Serial", ["Size", "number"], "Used for", ["Temperature", "number"], "State"], machine.disks.map((disk) => [
      strong(disk.name), disk.model || "–", mono(disk.serial || "–"), bytes(disk.bytes), disk.used || "nothing", disk.celsius === null ? "–" : `${disk.celsius} °C`,
      disk.trouble ? health("bad", disk.trouble) : health("good"),
    ]), "No disk is seen.")),
    card("Network cards", {}, table("Network cards", ["Name", "Hardware address", "Cable", "Speed", "Addresses"], machine.links.map((link) => [
      strong(link.name), mono(link.mac), health(link.carrier ? "good" : "off", link.carrier ? "in" : "none"), link.speed_mbit === null ? "–" : `${link.speed_mbit} Mbit/s`,
      mono(link.addresses.join(", ") || "–"),
    ]), "No card is seen.")),
    card("How much may be sent when", {}, quiet(`Hours are those of the appliance's zone, ${zone(machine.zone_minutes)}. The first row that holds counts; otherwise ${pace(machine.calendar.otherwise_bytes_per_second, true)}.`), calendar),
    card("Certificate", {}, facts(["SHA-256", mono(machine.certificate_sha256)]), quiet("The console shows the same."),
      may("administrator") && h("a.button", { href: "#/setup" }, "Network, vault, time, certificate")),
  ];
}
