//! What is sent to each route so that it is well answered: to an appliance of made-up servers, as an administrator.

use std::collections::BTreeMap;

use firmware_web::api::routes::Route;
use serde_json::{Value, json};
use tests::managing::{Answered, Client, PASSWORD};

/// Routes that are tried elsewhere: they stream, end the session that asks, or are of a machine that is set up.
pub(super) const ELSEWHERE: [&str; 13] = [
    "eventStream",
    "logOut",
    "supportBundle",
    "verb",
    "firstRun",
    "pair",
    "network",
    "setNetwork",
    "testVault",
    "setVault",
    "confirmKey",
    "setTime",
    "setCertificate",
];

/// A plan that the made-up appliance takes.
const PLAN: &str = "name = \"all\"\n[[group]]\nname = \"first\"\nserver = [{ name = \"web1\" }]\n";
/// The same with a person in it, who is waited for.
const WAITS: &str = "name = \"waits\"\n[[group]]\nname = \"first\"\nserver = [{ name = \"web1\" }]\n\
    after = [{ manual = \"Look.\" }]\n";

/// A target profile that it takes.
const TARGET: &str = "subscription = \"00000000-0000-0000-0000-000000000000\"\nlocation = \"westeurope\"\n\
    group = \"recovered\"\nnetwork = \"hub\"\nsubnet = \"servers\"\nsizes = [\"Standard_D4s_v5\"]\n";

/// What is sent.
pub(super) struct Sample {
    pub(super) path: String,
    body: Option<Value>,
}

impl Sample {
    pub(super) fn send(&self, client: &Client, route: &Route) -> Answered {
        match (&self.body, route.body_kind()) {
            (Some(Value::String(text)), Some("text/plain")) => {
                client.text(route.method, &self.path, text)
            }
            (Some(Value::String(text)), Some(kind @ "application/octet-stream")) => {
                let header = format!("content-type: {kind}\r\n");
                client.ask(route.method, &self.path, &header, text.as_bytes())
            }
            (Some(body), _) => client.json(route.method, &self.path, body),
            (None, _) => client.ask(route.method, &self.path, "", b""),
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// What things are called that the samples are about; they are made here.
struct Made {
    order: String,
    failover: String,
    job: String,
    token: String,
    session: String,
    approval: String,
    point: String,
}

fn make(client: &Client) -> Made {
    let send = |method: &str, path: &str, body: &Value| {
        let answer = client.json(method, path, body);
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        assert!((200..300).contains(&answer.status), "{path}: {} {said}", answer.status);
        answer.json()
    };
    for name in ["goes", "stays"] {
        send("POST", "/users", &json!({ "name": name, "role": "viewer", "password": PASSWORD }));
    }
    let order = |kind: &str| {
        let asked = json!({ "server": "web1", "kind": kind, "point": null, "confirm": "web1" });
        text(&send("POST", "/orders", &asked)["order"])
    };
    for (name, plan) in [("all", PLAN), ("waits", WAITS)] {
        assert_eq!(client.text("PUT", &format!("/plans/{name}"), plan).status, 200);
        let run = json!({ "drill": false, "confirm": name });
        send("POST", &format!("/plans/{name}/run"), &run);
    }
    assert_eq!(client.text("PUT", "/servers/web1/target", TARGET).status, 200);
    let token = send("POST", "/tokens", &json!({ "name": "made", "role": "viewer" }));
    client.logged_in("vera", PASSWORD);
    let sessions = client.get("/sessions").json();
    let of_vera = sessions.as_array().expect("rows").iter().find(|row| row["name"] == "vera");
    let mut policy = client.get("/servers/db1").json()["policy"].clone();
    policy["second_person"] = json!(true);
    send("PUT", "/servers/db1/policy", &policy);
    let asked = client.logged_in("bert", PASSWORD).json("POST", "/servers/db1/revoke", &json!({}));
    Made {
        order: order("drill"),
        failover: order("failover"),
        job: text(&send("POST", "/vault/verify", &json!({}))["id"]),
        token: text(&token["made"]["id"]),
        session: text(&of_vera.expect("she is there")["id"]),
        approval: text(&asked.json()["id"]),
        point: text(&client.get("/servers/web1/points?limit=1").json()[0]["id"]),
    }
}

/// By the operation's ID.
pub(super) fn samples(client: &Client) -> BTreeMap<&'static str, Sample> {
    let made = make(client);
    let mut all = BTreeMap::new();
    let mut add = |id: &'static str, path: &str, body: Option<Value>| {
        all.insert(id, Sample { path: path.to_owned(), body });
    };
    access(&made, &mut add);
    servers(&made, client, &mut add);
    recovery(&made, &mut add);
    add("vault", "/vault", None);
    add("verify", "/vault/verify", Some(json!({ "deep": true })));
    add("prune", "/vault/prune", Some(json!({ "dry_run": true })));
    add("setRetention", "/vault/retention", Some(json!({ "server": "web1", "keep": "72h" })));
    add("kit", "/vault/kit", None);
    add("jobs", "/jobs", None);
    add("job", &format!("/jobs/{}", made.job), None);
    add("appliance", "/appliance", None);
    add("measurements", "/appliance/measurements", None);
    add("update", "/appliance/update", None);
    add("updateFrom", "/appliance/update", Some(json!({ "from": "https://192.0.2.1/x.update" })));
    add("updateWith", "/appliance/update", Some(json!("LIFEBOAT UPDATE and more")));
    add("restart", "/appliance/restart", None);
    let row = json!({ "days": [0, 1], "from_hour": 8, "to_hour": 18, "bytes_per_second": 1000 });
    let calendar = json!({ "rows": [row], "otherwise_bytes_per_second": 0 });
    add("setCalendar", "/appliance/calendar", Some(calendar));
    add("events", "/events?limit=5&at_least=good", None);
    add("metrics", "!/metrics", None);
    add("alerts", "/alerts", None);
    let way = json!({ "kind": "syslog", "host": "127.0.0.1:9", "by": "udp" });
    let channel = json!({ "name": "log", "way": way });
    add("setAlerts", "/alerts", Some(json!({ "channels": [channel] })));
    add("testAlerts", "/alerts/test", None);
    all
}

type Add<'a> = dyn FnMut(&'static str, &str, Option<Value>) + 'a;

fn access(made: &Made, add: &mut Add<'_>) {
    add("description", "/openapi.json", None);
    add("session", "/session", None);
    add("logIn", "/session", Some(json!({ "name": "stays", "password": PASSWORD })));
    add("sessions", "/sessions", None);
    add("endSession", &format!("/sessions/{}", made.session), None);
    add("users", "/users", None);
    let user = json!({ "name": "new", "role": "operator", "password": PASSWORD });
    add("addUser", "/users", Some(user));
    add("removeUser", "/users/goes", None);
    add("setRole", "/users/stays/role", Some(json!({ "role": "viewer" })));
    add("setPassword", "/users/stays/password", Some(json!({ "password": "another horse" })));
    add("tokens", "/tokens", None);
    add("makeToken", "/tokens", Some(json!({ "name": "more", "role": "viewer", "days": 9 })));
    add("endToken", &format!("/tokens/{}", made.token), None);
    add("approvals", "/approvals", None);
    add("settleApproval", &format!("/approvals/{}", made.approval), Some(json!({ "grant": true })));
    add("audit", "/audit?limit=500", None);
    add("hosts", "/hosts", None);
    add("setHosts", "/hosts", Some(json!({ "names": ["boat.example"] })));
}

fn servers(made: &Made, client: &Client, add: &mut Add<'_>) {
    add("overview", "/overview", None);
    add("server", "/servers/web1", None);
    add("points", "/servers/web1/points?limit=3", None);
    let pin = format!("/servers/web1/points/{}/pin", made.point);
    add("pin", &pin, Some(json!({ "why": "before the change" })));
    add("unpin", &pin, None);
    add("series", "/servers/web1/series?figure=churn&span_seconds=3600", None);
    let policy = client.get("/servers/web1").json()["policy"].clone();
    add("setPolicy", "/servers/web1/policy", Some(policy));
    add("readiness", "/servers/web1/readiness?azure=false", None);
    add("revoke", "/servers/web1/revoke", None);
    add("accept", "/servers/web1/accept", Some(json!({ "after_failover": false })));
    add("target", "/servers/web1/target", None);
    add("setTarget", "/servers/web1/target", Some(json!(TARGET)));
    add("install", "/install", Some(json!({ "name": "mail1" })));
    add("seen", "/seen?network=192.0.2.0%2F24", None);
    let place = format!("server=web1&point={}", made.point);
    add("files", &format!("/files?{place}"), None);
    let file = format!(
        "/files/content?{place}&disk=sda&volume=1&path=etc%2Fmotd%20%3Cimg%20src%3Dx%20onerror%3Dalert%282%29%3E"
    );
    add("fileContent", &file, None);
}

fn recovery(made: &Made, add: &mut Add<'_>) {
    let drill = json!({ "server": "web1", "kind": "drill", "point": null });
    add("orders", "/orders", None);
    add("order", "/orders", Some(drill.clone()));
    add("estimate", "/orders/estimate", Some(drill));
    let (order, failover) = (&made.order, &made.failover);
    add("orderState", &format!("/orders/{order}"), None);
    add("resume", &format!("/orders/{order}/resume"), Some(json!({})));
    let typed = json!({ "confirm": "web1" });
    add("commit", &format!("/orders/{failover}/commit"), Some(typed));
    add("cancel", &format!("/orders/{order}/cancel"), Some(json!({})));
    add("orderReport", &format!("/orders/{order}/report"), None);
    add("sweep", "/sweep", Some(json!({ "remove": false })));
    add("plans", "/plans", None);
    add("setPlan", "/plans/all", Some(json!(PLAN)));
    add("runPlan", "/plans/all/run", Some(json!({ "drill": false, "confirm": "all" })));
    add("continuePlan", "/plans/waits/continue", None);
    add("commitPlan", "/plans/all/commit", Some(json!({ "confirm": "all" })));
    add("planReport", &format!("/plans/{order}/report"), None);
}
