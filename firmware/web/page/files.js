// Files of any point: browsed like folders, taken out one by one.

import { get, may, path } from "./api.js";
import { h, icon } from "./dom.js";
import { head, table, time } from "./parts.js";
import { fetchPoints } from "./timeline.js";
import { bytes, exactly, instant, named } from "./words.js";

const KINDS = { disk: "Disk", volume: "Volume", folder: "Folder", file: "File", link: "Link", other: "Other" };

/** The view; what stands behind the address's question mark says where one is. */
export async function show({ query }) {
  const place = { server: query.server || "", point: query.point || "", disk: query.disk || "", volume: query.volume || "", path: query.path || "" };
  if (!place.server) return chooseServer();
  const points = await fetchPoints(place.server);
  if (!place.point) return choosePoint(place, points);
  const listing = await get("files", place);
  const point = points.find((one) => one.id === place.point);
  return { title: "Files", element: h("div", head("Files", point ? `${place.server}, as of ${exactly(point.at_millis)}` : place.server), crumbs(place, point), entries(place, listing)) };
}

const to = (place) => `#/files?${new URLSearchParams(Object.entries(place).filter(([, value]) => value))}`;

async function chooseServer() {
  const { servers } = await get("overview");
  return { title: "Files", element: h("div", head("Files", "Of which server?"), table("Servers", ["Server", "Newest point"], servers.map((row) => [
    h("a", { href: to({ server: row.name }) }, row.name), row.newest_point_millis ? time(row.newest_point_millis) : "none yet",
  ]), "No server is protected yet.")) };
}

function choosePoint(place, points) {
  const link = (point) => to({ ...place, point: point.id });
  return { title: "Files", element: h("div", head("Files", `As of which point of ${place.server}?`), crumbs(place),
    h("p", h("a.button", { href: `#/server/${encodeURIComponent(place.server)}` }, "Pick it from the timeline")),
    table("Points", ["Instant", "Kind", ["Stored", "number"]], points.slice(0, 100).map((point) => [h("a", { href: link(point) }, exactly(point.at_millis)), named(point.consistency), bytes(point.stored_bytes)]), "There is no point yet.")) };
}

function crumbs(place, point) {
  const steps = [["Files", {}], [place.server, { server: place.server }]];
  if (place.point) steps.push([point ? instant(point.at_millis) : place.point.slice(0, 8), { server: place.server, point: place.point }]);
  if (place.disk) steps.push([place.disk, { ...place, volume: "", path: "" }]);
  if (place.volume) steps.push([place.volume, { ...place, path: "" }]);
  const parts = place.path ? place.path.split("/") : [];
  parts.forEach((part, at) => steps.push([part, { ...place, path: parts.slice(0, at + 1).join("/") }]));
  return h("nav.crumbs", { "aria-label": "Where you are" }, h("ol", steps.map(([words, where], at) => h("li", {},
    at === steps.length - 1 ? h("span", { "aria-current": "page" }, words) : h("a", { href: to(where) }, words)))));
}

function entries(place, listing) {
  const into = (entry) => {
    if (entry.kind === "disk") return { ...place, disk: entry.name };
    if (entry.kind === "volume") return { ...place, volume: entry.name };
    return { ...place, path: place.path ? `${place.path}/${entry.name}` : entry.name };
  };
  const name = (entry) => {
    if (entry.kind === "file" && may("operator")) return h("a", { href: path(["files", "content"], into(entry)), download: entry.name }, entry.name);
    return ["folder", "disk", "volume"].includes(entry.kind) ? h("a", { href: to(into(entry)) }, entry.name) : entry.name;
  };
  return h("div", {},
    listing.cut ? h("p.card.trouble", icon("attention"), " There is more here than is listed: the first 5000 are shown.") : null,
    table("What lies here", ["Name", "Kind", ["Size", "number"], "Changed", "Remarks"], listing.entries.map((entry) => [
      h("span", { class: `entry ${entry.kind}` }, name(entry)), KINDS[entry.kind] || entry.kind, ["file", "disk", "volume"].includes(entry.kind) ? bytes(entry.bytes) : "–",
      entry.changed_millis === null ? "–" : time(entry.changed_millis), entry.detail,
    ]), "Nothing lies here."));
}
