// Files of any point: browsed like folders, taken out one by one.

import { get, operator, path, search } from "./api.js";
import { h, head, note, quiet, serverLink, table, time } from "./dom.js";
import { fetchPoints } from "./timeline.js";
import { bytes, exactly, instant, named } from "./words.js";

export async function show({ query }) {
 const place = { server: "", point: "", disk: "", volume: "", path: "", ...query };
 const view = (lead, ...content) => ({ title: "Files", element: h("div", head("Files", lead), content) });
 if (!place.server) {
  return view("Of which server?", table("Servers", ["Server", "Newest point"], (await get("overview")).servers.map((row) => [
   link({ server: row.name }, row.name), row.newest_point_millis ? time(row.newest_point_millis) : "none yet",
  ]), "No server is protected yet."));
 }
 const points = await fetchPoints(place.server);
 const other = h("p", serverLink(place.server, "Pick another point from the timeline"));
 place.point ||= points[0]?.id;
 if (!place.point) return view(place.server, crumbs(place), quiet("There is no point yet."));
 const point = points.find((one) => one.id === place.point);
 return view([place.server, point && `, as of ${exactly(point.at_millis)}`], other, crumbs(place, point), entries(place, await get("files", place)));
}

const link = (place, words) => h("a", { href: `#/files?${search(place)}` }, words);

function crumbs(place, point) {
 const { server, point: id, disk, volume } = place;
 const parts = place.path ? place.path.split("/") : [];
 const steps = [["Files", {}], [server, { server }], id && [point ? instant(point.at_millis) : id.slice(0, 8), { server, point: id }],
  disk && [disk, { ...place, volume: "", path: "" }], volume && [volume, { ...place, path: "" }],
  ...parts.map((part, at) => [part, { ...place, path: parts.slice(0, at + 1).join("/") }])].filter(Boolean);
 return h("nav.crumbs", { label: "Where you are" }, h("ol", steps.map(([words, where], at) => h("li",
  at === steps.length - 1 ? h("span", { "aria-current": "page" }, words) : link(where, words)))));
}

function entries(place, { entries, cut }) {
 const shown = ({ name, kind }) => {
  const into = { ...place, ...(kind === "disk" || kind === "volume" ? { [kind]: name } : { path: place.path ? `${place.path}/${name}` : name }) };
  if (kind === "file" && operator()) return h("a", { href: path(["files", "content"], into), download: name }, name);
  return ["folder", "disk", "volume"].includes(kind) ? link(into, name) : name;
 };
 return [cut && h("div.card.trouble", note("attention", "There is more here than is listed: the first 5000 are shown.")),
  table("What lies here", ["Name", "Kind", ["Size", "number"], "Changed", "Remarks"], entries.map((entry) => [
   h("span", { class: `entry ${entry.kind}` }, shown(entry)), named(entry.kind), ["file", "disk", "volume"].includes(entry.kind) ? bytes(entry.bytes) : "–",
   time(entry.changed_millis), entry.detail,
  ]), "Nothing lies here.")];
}
