//! Who was revoked comes in again by an administrator's word alone.

use serde_json::json;

use crate::start;

#[test]
fn who_was_revoked_is_let_in_again_by_an_administrator_who_says_so() {
    let (_, managed) = start();
    let [anna, oskar] = ["anna", "oskar"].map(|name| managed.client(name));
    assert_eq!(anna.json("POST", "/servers/db1/revoke", &json!({})).status, 200);
    let install = |readmit: bool| json!({ "name": "db1", "readmit": readmit });
    for (who, readmit, status, field) in [
        (&oskar, false, 422, "/name"),
        (&oskar, true, 403, "/readmit"),
        (&anna, false, 422, "/name"),
    ] {
        let answer = who.json("POST", "/install", &install(readmit));
        assert_eq!((answer.status, answer.json()["field"].as_str()), (status, Some(field)));
    }
    assert_eq!(oskar.json("POST", "/install", &json!({ "name": "new" })).status, 200);
    assert_eq!(anna.json("POST", "/install", &install(true)).status, 200);
}
