// How a server is protected: its policy, changed live; whether it is ready to be recovered; where it is recovered to.

import { call, get, may, path } from "./api.js";
import { fill, h, icon, toast, quiet } from "./dom.js";
import { attempt, change, field, form } from "./form.js";
import { button, card, health, since, waiting } from "./parts.js";
import { counted, millis } from "./words.js";

const MIB = 1024 * 1024;

/** MiB/s as typed, of bytes a second; 0 is no limit. */
const mib = (value) => (value ? Math.round((value / MIB) * 100) / 100 : 0);
const fromMib = (value) => Math.round((value || 0) * MIB);

/** The policy as a form; `changed` gets the server as it is afterwards. */
export function policyCard(name, server, changed) {
  const policy = server.policy;
  const allowed = may("operator");
  const disks = server.disks.map((disk) => field(`left_out:${disk.name}`, `Leave out ${disk.name}`, { kind: "checkbox", value: policy.left_out.includes(disk.name), field: "/left_out" }));
  const node = form({
    label: `Policy of ${name}`,
    submit: "Change it now",
    fields: h("fieldset.plain.grid", { disabled: !allowed }, h("legend.unseen", "Policy"),
      field("interval_seconds", "A point every, seconds", { kind: "number", value: policy.interval_seconds, min: 10, max: 86400, hint: "10 to 86 400. The RPO's target follows it." }),
      field("application_every", "Hooks run at every so many-th point", { kind: "number", value: policy.application_every, min: 0, hint: "0: never. Those points are application-consistent." }),
      field("freeze_budget_millis", "File systems are frozen for at most, ms", { kind: "number", value: policy.freeze_budget_millis, min: 0 }),
      field("freeze_limit_millis", "Thawed whatever happens after, ms", { kind: "number", value: policy.freeze_limit_millis, min: 0, max: 30000, hint: "30 000 at most." }),
      field("send_mib", "Sends at most, MiB/s", { kind: "number", value: mib(policy.send_bytes_per_second), min: 0, step: "any", hint: "0: no limit.", field: "/send_bytes_per_second" }),
      field("compare_mib", "Reads everything at most, MiB/s", { kind: "number", value: mib(policy.compare_bytes_per_second), min: 0, step: "any", hint: "0: no limit.", field: "/compare_bytes_per_second" }),
      field("keep", "Points are kept", { value: policy.keep || "", placeholder: "as the vault's retention says", hint: "72h,hourly=7d,daily=30d. Empty: as the vault's retention says." }),
      field("group", "Consistency group", { value: policy.group || "", hint: "Servers of a group are cut at one instant. Empty: none." }),
      h("div.ticks", disks,
        field("paused", "Paused: no points are made", { kind: "checkbox", value: policy.paused }),
        field("second_person", "Failover and deletion need a second person", { kind: "checkbox", value: policy.second_person }))),
    send: (held) => change("PUT", ["servers", name, "policy"], {
      interval_seconds: held.interval_seconds, application_every: held.application_every, freeze_budget_millis: held.freeze_budget_millis,
      freeze_limit_millis: held.freeze_limit_millis, send_bytes_per_second: fromMib(held.send_mib), compare_bytes_per_second: fromMib(held.compare_mib),
      keep: held.keep.trim() || null, group: held.group.trim() || null, paused: held.paused, second_person: held.second_person,
      left_out: server.disks.map((disk) => disk.name).filter((disk) => held[`left_out:${disk}`]),
    }),
    then: (answer) => {
      if (!answer) return;
      toast("The policy is changed, and holds from the next point.");
      changed(answer);
    },
  });
  if (!allowed) node.querySelector(".buttons").hidden = true;
  return { node: card("Policy", {}, node) };
}

/** Whether it is ready, judged on demand. */
export function readinessCard(name) {
  const place = h("div", waiting());
  const judge = async (azure) => {
    fill(place, waiting(azure ? "The subscription is asked…" : "It is judged…"));
    const found = await attempt(() => get("servers", name, "readiness", azure ? { azure: true } : {}));
    if (!found) {
      fill(place, quiet("It could not be judged."));
      return;
    }
    const list = (title, kind, items) => (items.length ? [h("h3", title), h("ul.plain-list", items.map((item) => h("li", icon(kind), " ", item)))] : null);
    fill(place, h("p", health(found.ready ? "good" : "bad", found.ready ? "Ready to be recovered" : `${counted(found.problems.length, "thing")} in the way`),
      found.about_millis ? `; a failover takes about ${millis(found.about_millis)}` : ""),
    list("In the way", "bad", found.problems), list("Worth knowing", "attention", found.warnings), list("Repaired on the copy", "good", found.repairs),
    quiet("Judged ", found.judged_millis ? since(found.judged_millis) : "now", found.asked_azure ? ", the subscription was asked." : ", the subscription was not asked."));
  };
  // Judging reads a recovery point: the page does not wait for it.
  judge(false);
  return card("Readiness", { tools: may("operator") && [button("Judge now", () => judge(false)), button("Ask Azure too", () => judge(true))] }, place);
}

/** The target profile, as text. */
export function targetCard(name) {
  const place = h("div", waiting());
  const draw = (value) => {
    const allowed = may("operator");
    const node = form({
      label: `Target profile of ${name}`,
      submit: "Save",
      fields: field("text", "Where it is recovered to in Azure (TOML)", { kind: "textarea", value, rows: 12, readonly: !allowed, class: "mono", field: "/", hint: "Subscription, region, resource group, network, size. «lifeboat target --help» explains each." }),
      send: (held) => change("PUT", ["servers", name, "target"], held.text),
      then: (answer) => { if (answer !== null) toast("The target profile is saved."); },
    });
    if (!allowed) node.querySelector(".buttons").hidden = true;
    fill(place, node);
  };
  call("GET", path(["servers", name, "target"])).then(({ value }) => draw(value), (problem) => {
    if (problem.status === 404) draw("");
    else fill(place, quiet(problem.words));
  });
  return card("Target profile", {}, place);
}
