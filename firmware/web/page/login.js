// Logging in and out, and one's own password.

import { call, path, session } from "./api.js";
import { h, toast } from "./dom.js";
import { attempt, dialog, field, form } from "./form.js";
import { named } from "./words.js";

/** The form; `done` is called once somebody is in. */
export function loginForm(done, name = "") {
  return form({
    submit: "Log in",
    fields: [
      field("name", "Name", { value: name, autocomplete: "username", required: true }),
      field("password", "Password", { kind: "password", autocomplete: "current-password", required: true }),
    ],
    send: async (held) => {
      session.current = (await call("POST", path(["session"]), held, { quiet: true })).value;
    },
    then: done,
  });
}

/** A new password, asked twice. */
export function passwordFields(label = "New password") {
  return [
    field("password", label, { kind: "password", autocomplete: "new-password", hint: "At least 10 letters; a sentence is good.", required: true }),
    field("again", "The same once more", { kind: "password", autocomplete: "new-password", required: true }),
  ];
}

/** Whether both are the same: throws with the field that is meant. */
export function same(held) {
  if (held.password !== held.again) throw Object.assign(new Error("The two are not the same: type the password once more."), { field: "/again" });
}

/** Who is logged in, and what one may do about oneself. */
export function menu() {
  const { name, role } = session.current;
  return dialog("Your account", (close) => [
    h("p", "Logged in as ", h("strong", name), `, ${named(role).toLowerCase()}.`),
    h("details", h("summary", "Change the password"), form({
      label: "Change the password",
      submit: "Change it",
      fields: [field("old", "The password so far", { kind: "password", autocomplete: "current-password" }), passwordFields()],
      send: async (held) => {
        same(held);
        await call("POST", path(["users", name, "password"]), { password: held.password, old: held.old });
      },
      then: () => { toast("The password is changed."); close(); },
    })),
    h("div.buttons", h("button", {
      type: "button",
      class: "primary",
      onclick: () => attempt(async () => {
        await call("DELETE", path(["session"]), undefined, { quiet: true });
        location.hash = "";
        location.reload();
      }),
    }, "Log out")),
  ]);
}
