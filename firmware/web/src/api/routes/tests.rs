//! The table of routes holds together, and its document with it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::api::openapi;
use crate::api::views::alerts::Way;

#[test]
fn no_two_routes_are_the_same_and_each_says_what_it_does() {
    let mut ids = BTreeSet::new();
    let mut places = BTreeSet::new();
    for route in all() {
        assert!(ids.insert(route.id), "{} stands twice", route.id);
        assert!(places.insert((route.method, route.path)), "{} {}", route.method, route.path);
        assert!(route.path.starts_with('/') && !route.path.ends_with('/'), "{}", route.path);
        assert!(route.summary.len() > 5 && !route.summary.ends_with('.'), "{}", route.id);
        assert!(["GET", "POST", "PUT", "DELETE"].contains(&route.method), "{}", route.id);
    }
    assert!(ids.len() > 60, "{}", ids.len());
}

#[test]
fn whatever_changes_something_takes_more_than_to_look() {
    // One's own session and password, the first administrator, and verbs, whose role is their own.
    let of_anybody = ["logIn", "logOut", "endSession", "setPassword", "pair", "verb"];
    for route in all().filter(|route| route.changes() && !of_anybody.contains(&route.id)) {
        assert!(route.role >= OPERATOR, "{}", route.id);
    }
    for route in all().filter(|route| route.may_wait()) {
        assert!(route.changes(), "{}", route.id);
    }
    for open in all().filter(|route| route.role.is_none()) {
        assert!(["description", "logIn", "firstRun", "pair"].contains(&open.id), "{}", open.id);
    }
    let administrators = ["addUser", "makeToken", "audit", "setRetention", "prune", "revoke"];
    for route in all().filter(|route| administrators.contains(&route.id)) {
        assert_eq!(route.role, ADMINISTRATOR, "{}", route.id);
    }
}

#[test]
fn paths_are_found_by_what_they_are() {
    let found = |method: &str, path: &str| match find(method, path) {
        Found::Route(route, parts) => format!("{} {}", route.id, parts.join(" ")).trim().to_owned(),
        Found::OtherMethods(methods) => methods.join("+"),
        Found::Nothing => "nothing".to_owned(),
    };
    for (method, path, expected) in [
        ("GET", "/overview", "overview"),
        ("HEAD", "/overview", "overview"),
        ("POST", "/overview", "GET"),
        ("PATCH", "/session", "DELETE+GET+POST"),
        ("GET", "/servers/web%201", "server web 1"),
        ("GET", "/servers/a%2Fb/points", "points a/b"),
        ("DELETE", "/servers/a/points/b/pin", "unpin a b"),
        ("POST", "/orders/estimate", "estimate"),
        ("GET", "/orders/estimate", "orderState estimate"),
        ("GET", "/servers", "nothing"),
        ("GET", "/servers/", "nothing"),
        ("GET", "/servers/a/", "nothing"),
        ("GET", "/servers/%zz", "nothing"),
        ("GET", "/servers/%00", "nothing"),
        ("GET", "", "nothing"),
        ("get", "/overview", "GET"),
        ("GET", "/metrics", "metrics"),
    ] {
        assert_eq!(found(method, path), expected, "{method} {path}");
    }
}

#[test]
fn whoever_only_looks_sees_of_a_webhook_whose_it_is_and_nothing_that_lets_them_send() {
    for (url, shown) in [
        ("https://hooks.example/T0/secret?key=1", "https://hooks.example/…"),
        ("https://hooks.example:8443?key=1", "https://hooks.example:8443/…"),
        ("https://hooks.example", "https://hooks.example"),
        ("", ""),
        ("é/é", "é/…"),
    ] {
        let way = Way::Webhook { url: url.to_owned() };
        assert_eq!(way.veiled(), Way::Webhook { url: shown.to_owned() }, "{url}");
    }
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match (key.as_str(), value) {
                    ("$ref", Value::String(to)) => {
                        found.insert(to.clone());
                    }
                    _ => references(value, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn the_document_has_every_route_and_all_that_it_refers_to() {
    let document = openapi::document();
    for route in all() {
        let path =
            if route.path == METRICS { METRICS.into() } else { format!("{BEGIN}{}", route.path) };
        let operation = &document["paths"][&path][route.method.to_ascii_lowercase()];
        assert_eq!(operation["operationId"], route.id, "{path}");
    }
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 30);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    // What is taken and what is answered differ in what may be left out.
    let required = |name: &str| document["components"]["schemas"][name]["required"].to_string();
    assert!(required("PolicyView").contains("\"keep\""));
    assert!(!required("AskedPolicyView").contains("\"keep\""));
}
