//! The API does what its table says, over real TLS: for each role what is its, nothing for who is not known, a second person where the
//! policy asks for one, everything noted; and its document describes what it answers.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use firmware::admin::keep::Keep as _;
use firmware::alerts::Alerts;
use firmware::session::Machine;
use firmware_web::api::Role;
use firmware_web::api::routes::{Route, all};
use serde_json::{Value, json};
use tests::azurite::{Scratch, install_once, run};
use tests::managing::{Answered, Client, Managed, PASSWORD};
use tests::synthetic_site::SyntheticSite;

/// Who was revoked, let in again.
#[path = "api/readmitted.rs"]
mod readmitted;
/// What is sent to each route so that it is well answered.
#[path = "api/samples.rs"]
mod samples;
/// What many are told at once.
#[path = "api/stream.rs"]
mod stream;

use samples::{Sample, samples};

fn start() -> (SyntheticSite, Managed) {
    let site = SyntheticSite::new(6, 8);
    let managed = Managed::start(Arc::new(site.clone()), |api, keep| {
        let machine = Machine::with_table(Vec::new());
        let alerts = Alerts::open(keep.clone(), &machine, "bed").expect("alerts");
        api.with_alarm(alerts)
    });
    (site, managed)
}

fn words(answer: &Answered) -> String {
    format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body))
}

/// The path of a route with something in its braces.
fn filled(route: &Route) -> String {
    let parts = route.path.split('/').map(|word| if word.starts_with('{') { "web1" } else { word });
    let path: Vec<&str> = parts.collect();
    let query: Vec<String> = route
        .query
        .iter()
        .filter(|parameter| parameter.needed)
        .map(|parameter| format!("{}=x", parameter.name))
        .collect();
    let path = path.join("/");
    let path = if path == "/metrics" { format!("!{path}") } else { path };
    if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
}

#[test]
fn each_role_does_what_is_its_and_no_more_on_every_route() {
    let (_, managed) = start();
    let anna = managed.client("anna");
    let token = |name: &str, role: &str| {
        let made = anna.json("POST", "/tokens", &json!({ "name": name, "role": role }));
        let token = made.json()["token"].as_str().expect("a token").to_owned();
        managed.nobody().with_token(&token)
    };
    let callers = [
        (None, managed.nobody()),
        (None, managed.nobody().with_token(&format!("lbt_{}", "A".repeat(43)))),
        (Some(Role::Viewer), managed.client("vera")),
        (Some(Role::Viewer), token("looks", "viewer")),
        (Some(Role::Operator), managed.client("oskar")),
        (Some(Role::Operator), token("works", "operator")),
    ];
    let mut tried = 0;
    for route in all() {
        for (role, client) in &callers {
            // What it would do is tried elsewhere; here it is whether it is let through to be refused for its body.
            let answer = match route.body_kind() {
                Some("text/plain") => client.text(route.method, &filled(route), "\u{1}"),
                Some(kind @ "application/octet-stream") => {
                    let header = format!("content-type: {kind}\r\n");
                    client.ask(route.method, &filled(route), &header, b"nonsense")
                }
                Some(_) => client.json(route.method, &filled(route), &json!({ "nonsense": 1 })),
                None if matches!(route.id, "eventStream" | "logOut") => continue,
                None => client.ask(route.method, &filled(route), "", b""),
            };
            let expected = match (route.role, role) {
                (None, _) => None,
                (Some(_), None) => Some(401),
                (Some(needed), Some(role)) if *role < needed => Some(403),
                (Some(_), Some(_)) => None,
            };
            let said =
                || format!("{} {} as {role:?}: {}", route.method, route.path, words(&answer));
            match expected {
                Some(status) => assert_eq!(answer.status, status, "{}", said()),
                None => assert!(![401, 403, 500].contains(&answer.status), "{}", said()),
            }
            if answer.status >= 400 {
                let kind = answer.header("content-type");
                assert_eq!(kind, Some("application/problem+json"), "{}", said());
                assert!(answer.json()["detail"].is_string(), "{}", said());
            }
            tried += 1;
        }
    }
    assert!(tried > 300, "{tried}");
}

#[test]
fn a_session_needs_its_word_and_ends_when_it_is_ended() {
    let (_, managed) = start();
    let vera = managed.client("vera");
    let one = vera.get("/session");
    assert_eq!((one.status, one.json()["name"].as_str()), (200, Some("vera")));
    let other = managed.client("vera");
    let body = json!({ "password": "another horse", "old": PASSWORD });
    for client in [other.without_word(), managed.client("vera").without_word()] {
        let refused = client.json("POST", "/users/vera/password", &body);
        assert_eq!(refused.status, 403, "{}", words(&refused));
        assert_eq!(client.get("/session").status, 200, "reading needs none");
    }
    let foreign = "content-type: application/json\r\norigin: https://evil.example\r\n";
    let bytes = serde_json::to_vec(&body).expect("JSON");
    let refused = other.ask("POST", "/users/vera/password", foreign, &bytes);
    assert_eq!(refused.status, 403, "from another page");
    let log_in = json!({ "name": "vera", "password": PASSWORD });
    let log_in = serde_json::to_vec(&log_in).expect("JSON");
    assert_eq!(managed.nobody().ask("POST", "/session", foreign, &log_in).status, 403);
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    assert_eq!(managed.nobody().ask("POST", "/session", form, &log_in).status, 415);
    let own = format!("content-type: application/json\r\norigin: https://{}\r\n", managed.address);
    assert_eq!(managed.nobody().ask("POST", "/session", &own, &log_in).status, 200);

    let sessions = managed.client("anna").get("/sessions").json();
    assert!(sessions.as_array().is_some_and(|rows| rows.len() >= 4), "{sessions}");
    let gone = vera.ask("DELETE", "/session", "", b"");
    assert_eq!(gone.status, 204);
    assert!(gone.header("set-cookie").is_some_and(|cookie| cookie.contains("Max-Age=0")));
    assert_eq!(vera.get("/session").status, 401);
    assert_eq!(other.get("/session").status, 200);
    let rows = other.get("/sessions").json();
    for row in rows.as_array().expect("rows").iter().filter(|row| row["own"] == false) {
        let id = row["id"].as_str().expect("an ID");
        assert_eq!(other.ask("DELETE", &format!("/sessions/{id}"), "", b"").status, 204);
    }
    assert_eq!(other.get("/sessions").json().as_array().map(Vec::len), Some(1));
}

#[test]
fn guessing_is_held_up_and_says_nothing_of_who_there_is() {
    let (_, managed) = start();
    let nobody = managed.nobody();
    let guess = |name: &str| {
        let answer =
            nobody.json("POST", "/session", &json!({ "name": name, "password": "wrong wrong" }));
        (answer.status, answer.json())
    };
    let of_somebody = [guess("anna"), guess("anna")];
    assert_eq!(of_somebody, [guess("nobody"), guess("nobody")]);
    assert_eq!(of_somebody[0].0, 401);
    // Each that is tried in vain costs a longer pause; those within one are not even tried.
    let mut seconds = 0;
    while seconds < 8 {
        let (status, told) = guess("anna");
        assert!([401, 429].contains(&status), "{told}");
        seconds = told["retry_seconds"].as_u64().unwrap_or_default();
    }
    let right = json!({ "name": "anna", "password": PASSWORD });
    let answer = nobody.json("POST", "/session", &right);
    assert_eq!(answer.status, 429, "not even the right one");
    let after = answer.header("retry-after").and_then(|text| text.parse::<u64>().ok());
    std::thread::sleep(core::time::Duration::from_secs(after.expect("when")));
    assert_eq!(nobody.json("POST", "/session", &right).status, 200, "and then it is");
}

#[test]
fn a_token_is_shown_once_and_is_good_until_it_is_ended() {
    let (_, managed) = start();
    let anna = managed.client("anna");
    let asked = json!({ "name": "ci", "role": "operator", "days": 1 });
    let made = anna.json("POST", "/tokens", &asked).json();
    let token = made["token"].as_str().expect("a token");
    let client = managed.nobody().with_token(token);
    assert_eq!(client.get("/session").json()["name"], "ci");
    let verified = client.json("POST", "/vault/verify", &json!({}));
    assert_eq!(verified.status, 200, "{}", words(&verified));
    let listed = anna.get("/tokens");
    assert!(!String::from_utf8_lossy(&listed.body).contains(token));
    assert_eq!(client.ask("DELETE", "/session", "", b"").status, 409, "it has no session");
    let id = made["made"]["id"].as_str().expect("an ID");
    assert_eq!(anna.ask("DELETE", &format!("/tokens/{id}"), "", b"").status, 204);
    assert_eq!(client.get("/session").status, 401);
    // Its user gone, a token is gone.
    let of_bert = managed.client("bert").json("POST", "/tokens", &asked).json();
    let client = managed.nobody().with_token(of_bert["token"].as_str().expect("a token"));
    assert_eq!(client.get("/overview").status, 200);
    assert_eq!(anna.ask("DELETE", "/users/bert", "", b"").status, 204);
    assert_eq!(client.get("/overview").status, 401);
}

/// The policy of web1 asks for a second person from now on.
fn watched_over(client: &Client) -> Value {
    let mut policy = client.get("/servers/web1").json()["policy"].clone();
    policy["second_person"] = json!(true);
    let set = client.json("PUT", "/servers/web1/policy", &policy);
    assert_eq!(set.status, 200, "{}", words(&set));
    policy
}

#[test]
fn where_a_second_person_is_wanted_nobody_fails_over_alone() {
    let (_, managed) = start();
    let (anna, bert, oskar) =
        (managed.client("anna"), managed.client("bert"), managed.client("oskar"));
    watched_over(&oskar);
    let failover =
        json!({ "server": "web1", "kind": "failover", "point": null, "confirm": "web1" });
    let mistyped =
        json!({ "server": "web1", "kind": "failover", "point": null, "confirm": "web2" });
    let refused = oskar.json("POST", "/orders", &mistyped);
    assert_eq!((refused.status, refused.json()["field"].as_str()), (422, Some("/confirm")));
    let drill = json!({ "server": "web1", "kind": "drill", "point": null });
    assert_eq!(oskar.json("POST", "/orders", &drill).status, 200, "a drill needs nobody");

    let waits = oskar.json("POST", "/orders", &failover);
    assert_eq!(waits.status, 202, "{}", words(&waits));
    let id = waits.json()["id"].as_str().expect("an ID").to_owned();
    let place = format!("/approvals/{id}");
    let again = oskar.json("POST", "/orders", &failover).json();
    assert_eq!(again["id"].as_str(), Some(&*id), "asked twice is asked once");
    let failovers = || {
        let orders = anna.get("/orders").json();
        let all = orders.as_array().expect("orders").iter();
        all.filter(|order| order["kind"] == "failover").count()
    };
    assert_eq!(failovers(), 0);
    assert_eq!(oskar.json("POST", &place, &json!({ "grant": true })).status, 403);
    let settled = bert.json("POST", &place, &json!({ "grant": true })).json();
    assert_eq!(settled["answer"]["kind"], "failover", "{settled}");
    assert_eq!(settled["answer"]["by"], "oskar", "as who asked");
    assert_eq!((settled["approval"]["outcome"].as_u64(), failovers()), (Some(200), 1));
    assert_eq!(bert.json("POST", &place, &json!({ "grant": true })).status, 409, "once is once");
    let noted = anna.get("/audit").json();
    let deed = noted["entries"].as_array().expect("entries").iter().find(|entry| {
        entry["what"] == "order" && entry["object"] == "server web1, agreed to by bert"
    });
    assert_eq!(deed.expect("it is noted")["by"], "oskar");

    // Who asked as an administrator is no second person either, by no way: neither by a token of its own.
    let mine = anna.json("POST", "/servers/web1/revoke", &json!({}));
    assert_eq!(mine.status, 202, "{}", words(&mine));
    let place = format!("/approvals/{}", mine.json()["id"].as_str().expect("an ID"));
    let token = anna.json("POST", "/tokens", &json!({ "name": "robot", "role": "administrator" }));
    let robot = managed.nobody().with_token(token.json()["token"].as_str().expect("a token"));
    for one in [&anna, &robot] {
        assert_eq!(one.json("POST", &place, &json!({ "grant": true })).status, 403);
    }
    let refused = bert.json("POST", &place, &json!({ "grant": false })).json();
    assert_eq!(
        (&refused["approval"]["state"], &refused["answer"]),
        (&json!("refused"), &Value::Null)
    );
    assert_eq!(anna.get("/servers/web1").json()["revoked"], false);
}

#[test]
fn what_a_second_person_watches_over_is_not_undone_by_one_alone() {
    let (_, managed) = start();
    let (anna, bert) = (managed.client("anna"), managed.client("bert"));
    let policy = watched_over(&anna);
    let with = |key: &str, value: Value| {
        let mut policy = policy.clone();
        policy[key] = value;
        policy
    };
    let put = |policy: &Value| anna.json("PUT", "/servers/web1/policy", policy);
    assert_eq!(
        put(&with("interval_seconds", json!(120))).status,
        200,
        "what costs nobody anything"
    );
    for weaker in [with("second_person", json!(false)), with("keep", json!("1h"))] {
        assert_eq!(put(&weaker).status, 202);
    }
    for (method, path, body) in [
        ("PUT", "/vault/retention", json!({ "server": null, "keep": "1h" })),
        ("PUT", "/vault/retention", json!({ "server": "web1", "keep": "1h" })),
        ("POST", "/vault/prune", json!({ "dry_run": false })),
        ("POST", "/sweep", json!({ "remove": true })),
    ] {
        let answer = anna.json(method, path, &body);
        assert_eq!(answer.status, 202, "{path}: {}", words(&answer));
    }
    for (method, path, body) in [
        ("POST", "/vault/prune", json!({ "dry_run": true })),
        ("POST", "/sweep", json!({ "remove": false })),
        ("PUT", "/vault/retention", json!({ "server": "db1", "keep": "72h" })),
    ] {
        let answer = anna.json(method, path, &body);
        assert_eq!(answer.status, 200, "{path}: {}", words(&answer));
    }
    // Agreed to by another, it is done.
    let approvals = bert.get("/approvals").json();
    let alone = approvals.as_array().expect("approvals").iter().find(|approval| {
        approval["words"].as_str().is_some_and(|words| words.contains("one person alone"))
    });
    let id = alone.and_then(|approval| approval["id"].as_str()).expect("it waits");
    let settled = bert.json("POST", &format!("/approvals/{id}"), &json!({ "grant": true }));
    assert_eq!(settled.json()["approval"]["outcome"], 200, "{}", words(&settled));
    assert_eq!(anna.get("/servers/web1").json()["policy"]["second_person"], false);
    assert_eq!(put(&with("keep", json!("72h"))).status, 200, "from now on one does");
    let oskar = managed.client("oskar");
    let now = anna.get("/servers/web1").json()["policy"].clone();
    assert_eq!(oskar.json("PUT", "/servers/web1/policy", &now).status, 200);
    let shorter = oskar.json("PUT", "/servers/web1/policy", &with("keep", json!("1h")));
    assert_eq!(
        (shorter.status, shorter.json()["field"].as_str()),
        (403, Some("/keep")),
        "retention is an administrator's, by this way too"
    );
}

#[test]
fn everything_that_is_done_is_noted_without_a_secret_and_a_changed_note_is_told() {
    let (_, managed) = start();
    let (anna, oskar) = (managed.client("anna"), managed.client("oskar"));
    let secret = "SECRET-password-in-the-wrong-field";
    for name in ["oskar", secret] {
        let wrong = json!({ "name": name, "password": secret });
        assert_eq!(managed.nobody().json("POST", "/session", &wrong).status, 401);
    }
    let hook = json!({ "kind": "webhook", "url": "https://hooks.example/T0/SECRET" });
    let chat = json!({ "channels": [{ "name": "chat", "way": hook }] });
    assert_eq!(anna.json("PUT", "/alerts", &chat).status, 200);
    assert!(words(&anna.get("/alerts")).contains("SECRET"));
    for client in [&oskar, &managed.client("vera")] {
        let alerts = words(&client.get("/alerts"));
        assert!(alerts.contains("hooks.example") && !alerts.contains("SECRET"), "{alerts}");
    }
    let drill = json!({ "server": "web1", "kind": "drill", "point": null });
    oskar.json("POST", "/orders", &drill);
    assert_eq!(
        oskar
            .json("POST", "/users", &json!({ "name": "eve", "role": "viewer", "password": secret }))
            .status,
        403
    );
    anna.json("POST", "/users", &json!({ "name": "eve", "role": "viewer", "password": secret }));
    let token = anna.json("POST", "/tokens", &json!({ "name": "ci", "role": "viewer" })).json();
    let page = anna.get("/audit").json();
    let told: Vec<(String, String, String, u64)> = page["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .map(|entry| {
            let text = |key: &str| entry[key].as_str().expect("text").to_owned();
            (text("by"), text("what"), text("object"), entry["outcome"].as_u64().expect("a number"))
        })
        .collect();
    let expect = |by: &str, what: &str, object: &str, outcome: u64| {
        let wanted = (by.to_owned(), what.to_owned(), object.to_owned(), outcome);
        assert!(told.contains(&wanted), "{wanted:?} in {told:?}");
    };
    expect("", "logIn", "user anna", 200);
    expect("", "logIn", "user oskar", 401);
    expect("", "logIn", "a user that is not there", 401);
    expect("oskar", "order", "server web1", 200);
    expect("oskar", "addUser", "user eve", 403);
    expect("anna", "addUser", "user eve", 200);
    expect("anna", "makeToken", "token ci", 200);
    assert_eq!(page["broken"], Value::Null);
    let token = token["token"].as_str().expect("a token");
    for name in ["audit-0", "users", "tokens"] {
        let document = managed.keep.read(name).expect("it is read").expect("it is there");
        let text = String::from_utf8_lossy(&document).into_owned();
        for hidden in [secret, token, PASSWORD] {
            assert!(!text.contains(hidden), "{name} holds {hidden}");
        }
    }
    let log = managed.keep.read("audit-0").expect("it is read").expect("it is there");
    let changed = String::from_utf8_lossy(&log)
        .replace("\"oskar\",\"what\":\"order\"", "\"vera\",\"what\":\"order\"");
    assert_ne!(changed.as_bytes(), log);
    managed.keep.write("audit-0", changed.as_bytes()).expect("it is written");
    let page = anna.get("/audit").json();
    let ordered =
        page["entries"].as_array().expect("entries").iter().find(|it| it["what"] == "order");
    assert_eq!(page["broken"]["number"], ordered.expect("it is there")["number"]);
}

#[test]
fn files_come_whole_in_ranges_and_as_what_they_are_called() {
    let (_, managed) = start();
    let oskar = managed.client("oskar");
    let Sample { path, .. } =
        samples(&managed.client("anna")).remove("fileContent").expect("a file");
    let whole = oskar.get(&path);
    assert_eq!(whole.status, 200, "{}", words(&whole));
    assert!(whole.body.len() > 10);
    assert!(whole.header("content-disposition").is_some_and(|it| it.starts_with("attachment")));
    let part = oskar.ask("GET", &path, "range: bytes=2-5\r\n", b"");
    assert_eq!((part.status, &part.body[..]), (206, &whole.body[2..6]));
    assert_eq!(part.header("content-range"), Some(&*format!("bytes 2-5/{}", whole.body.len())));
    assert_eq!(oskar.ask("GET", &path, "range: bytes=99999999999-\r\n", b"").status, 416);
    let head = oskar.ask("HEAD", &path, "", b"");
    assert_eq!(head.header("content-length"), whole.header("content-length"));
    assert_eq!(managed.client("vera").get(&path).status, 403, "who looks takes nothing out");
}

#[test]
fn a_name_that_an_administrator_added_is_answered_and_every_answer_is_fenced() {
    let (_, managed) = start();
    let anna = managed.client("anna");
    let ask = |host: &str| {
        let mut stream = anna.connect();
        let head = anna.head("GET", "/overview").replace(&managed.address.to_string(), host);
        stream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).expect("heard");
        tests::managing::answered(&mut stream, false).expect("an answer")
    };
    assert_eq!((ask("bed").status, ask("boat.example:8443").status), (200, 421));
    let set = anna.json("PUT", "/hosts", &json!({ "names": ["Boat.example"] }));
    assert_eq!(set.status, 200, "{}", words(&set));
    assert_eq!((ask("boat.example:8443").status, ask("evil.example").status), (200, 421));
    let nonsense = anna.json("PUT", "/hosts", &json!({ "names": ["ok", "<script>"] }));
    assert_eq!((nonsense.status, nonsense.json()["field"].as_str()), (422, Some("/names/1")));
    for path in ["/overview", "/nowhere", "!/", "!/status.json", "!/metrics"] {
        let answer = anna.get(path);
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'none'"), "{path}: {policy}");
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
    }
}

#[test]
fn wrong_fields_are_named() {
    let (_, managed) = start();
    let anna = managed.client("anna");
    let policy = anna.get("/servers/web1").json()["policy"].clone();
    let with = |key: &str, value: Value| {
        let mut policy = policy.clone();
        policy[key] = value;
        policy
    };
    let mut lacking = policy.clone();
    lacking.as_object_mut().expect("an object").remove("paused");
    for (body, field) in [
        (with("interval_seconds", json!("soon")), "/interval_seconds"),
        (with("interval_seconds", json!(-1)), "/interval_seconds"),
        (with("left_out", json!(["sda", 5])), "/left_out/1"),
        (with("a/b", json!(1)), "/a~1b"),
        (lacking, "/paused"),
    ] {
        let refused = anna.json("PUT", "/servers/web1/policy", &body);
        assert_eq!(
            (refused.status, refused.json()["field"].as_str()),
            (400, Some(field)),
            "{}",
            words(&refused)
        );
    }
    for query in [
        "figure=rpo",
        "figure=height&span_seconds=60",
        "figure=rpo&span_seconds=-1",
        "figure=rpo&span_seconds=60&x=1",
        "figure=rpo&figure=rpo&span_seconds=1",
    ] {
        assert_eq!(anna.get(&format!("/servers/web1/series?{query}")).status, 400, "{query}");
    }
    let text = "content-type: application/json\r\n";
    for body in [&b""[..], b"{", b"[]", b"\xff\xfe", &[b'['; 5000]] {
        assert_eq!(anna.ask("POST", "/orders", text, body).status, 400);
    }
}

/// A Python with the validators, of fixed versions.
fn python() -> Result<PathBuf, String> {
    let folder = install_once("python-openapi-1", &|folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        run(pip.args(["openapi-spec-validator==0.7.2", "jsonschema==4.25.1"])).map(drop)
    })?;
    Ok(folder.join("bin/python"))
}

#[test]
fn every_route_is_answered_as_its_document_says() {
    let (_, managed) = start();
    let anna = managed.client("anna");
    let samples = samples(&anna);
    let mut answers: BTreeMap<&str, Value> = BTreeMap::new();
    for route in all() {
        // These take a machine to be set up, which is tried where one is; or stream.
        if samples::ELSEWHERE.contains(&route.id) {
            continue;
        }
        let sample = samples.get(route.id).unwrap_or_else(|| panic!("no sample of {}", route.id));
        let answer = sample.send(&anna, route);
        assert!((200..300).contains(&answer.status), "{}: {}", route.id, words(&answer));
        let kind = answer.header("content-type").unwrap_or_default();
        let body = if kind.starts_with("application/json") { answer.json() } else { Value::Null };
        answers.insert(route.id, json!({ "status": answer.status, "kind": kind, "body": body }));
    }
    let scratch = Scratch::new("openapi").expect("a folder");
    let document = managed.nobody().get("/openapi.json");
    assert_eq!(document.status, 200);
    std::fs::write(scratch.path().join("openapi.json"), &document.body).expect("a file");
    let answers = serde_json::to_vec(&answers).expect("JSON");
    std::fs::write(scratch.path().join("answers.json"), answers).expect("a file");
    let python = match python() {
        Ok(python) => python,
        Err(error) => {
            eprintln!("SKIPPED: the validators cannot be installed here: {error}");
            return;
        }
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/validate.py");
    let said = run(Command::new(python).arg(script).arg(scratch.path()));
    let said = said.unwrap_or_else(|error| panic!("{error}"));
    print!("{said}");
}
