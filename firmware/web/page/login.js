// Coming in and going out, and one's own password.

import { call, path, session } from "./api.js";
import { h, loud, more, strong, toast } from "./dom.js";
import { dialog, doing, field, form, wrong } from "./form.js";
import { named } from "./words.js";

export const loginForm = (done, name = "") => form({
 submit: "Log in",
 fields: [field("name", "Name", { value: name, autocomplete: "username" }), field("password", "Password", { kind: "password", autocomplete: "current-password" })],
 send: async (held) => { session.current = (await call("POST", path(["session"]), held, { quiet: true })).value; },
 then: done,
});

export const passwordFields = (label = "New password") => [
 field("password", label, { kind: "password", autocomplete: "new-password", hint: "At least 10 letters; a sentence is good." }),
 field("again", "The same once more", { kind: "password", autocomplete: "new-password" }),
];

export function same(held) {
 if (held.password !== held.again) throw wrong("/again", "The two are not the same: type the password once more.");
}

export const oldPassword = () => field("old", "The password so far", { kind: "password", autocomplete: "current-password" });

export function menu() {
 const { name, role } = session.current;
 return dialog("Your account", (close) => [
  h("p", "Logged in as ", strong(name), `, ${named(role).toLowerCase()}.`),
  more("Change the password", form({
   label: "Change the password",
   submit: "Change it",
   fields: [oldPassword(), passwordFields()],
   send: (held) => {
    same(held);
    return call("POST", path(["users", name, "password"]), { password: held.password, old: held.old });
   },
   then: () => { toast("The password is changed."); close(); },
  })),
  h("div.buttons", doing("Log out", async () => {
   await call("DELETE", path(["session"]), undefined, { quiet: true });
   location.hash = "";
   location.reload();
  }, null, loud)),
 ]);
}
