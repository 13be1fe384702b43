//! As much of a control plane as a client needs to be heard out: it keeps what it is told, begins something behind each
//! change, and writes down every request. What the changes do is the region stand-in's business, not its own.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use tests::azurite::server::{Answers, Incoming, Server, answer};

/// The server; it ends when this is dropped.
pub(crate) struct Plane {
    server: Server,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    resources: BTreeMap<String, Value>,
    /// How often each operation was looked at, and what it brings.
    operations: Vec<(u32, Value)>,
    sent: Vec<Value>,
}

impl Plane {
    pub(crate) fn start() -> io::Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let server = Server::start(Answers(move |request: &Incoming| {
            shared.lock().unwrap_or_else(PoisonError::into_inner).hear(request)
        }))?;
        Ok(Self { server, state })
    }

    pub(crate) fn port(&self) -> u16 {
        self.server.port()
    }

    pub(crate) fn authority(&self) -> String {
        self.server.address().to_string()
    }

    /// Every request that came, as the validator reads them.
    pub(crate) fn sent(&self) -> Vec<Value> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).sent.clone()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).resources.is_empty()
    }
}

impl State {
    fn hear(&mut self, request: &Incoming) -> Vec<u8> {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        if path == "/console" {
            return answer(200, &[], b"console log of a machine");
        }
        let body = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        self.sent.push(json!({
            "method": request.method, "path": path, "query": query, "body": body,
            "auth": request.header("authorization"),
        }));
        let base = format!("http://{}", request.header("host").unwrap_or_default());
        let key = path.to_lowercase();
        match request.method.as_str() {
            "PUT" => self.put(&base, &key, path, body),
            "DELETE" => self.delete(&base, &key),
            "POST" => self.post(&base, &key),
            _ if path.contains("/operations/") => self.operation(&base, path, query),
            _ => self.get(&key),
        }
    }

    fn put(&mut self, base: &str, key: &str, path: &str, mut body: Value) -> Vec<u8> {
        body["id"] = json!(path);
        body["properties"]["provisioningState"] = json!("Succeeded");
        if key.contains("/disks/") {
            body["properties"]["diskState"] = json!("ReadyToUpload");
        }
        self.resources.insert(key.to_owned(), body.clone());
        // A group is made at once; the rest behind the answer.
        if !key.contains("/providers/") {
            return answer(201, &[], body.to_string().as_bytes());
        }
        self.begin(base, 201, Value::Null, false)
    }

    fn delete(&mut self, base: &str, key: &str) -> Vec<u8> {
        if !self.resources.contains_key(key) {
            return answer(204, &[], b"");
        }
        self.resources.retain(|has, _| !has.starts_with(key));
        let number = self.operations.len();
        self.operations.push((0, Value::Null));
        let place = format!("{base}/subscriptions/s/operations/{number}?monitor=true");
        answer(202, &[("Location", &place), ("Retry-After", "0")], b"")
    }

    fn post(&mut self, base: &str, key: &str) -> Vec<u8> {
        let (resource, act) = key.rsplit_once('/').unwrap_or_default();
        let Some(found) = self.resources.get_mut(resource) else { return missing() };
        match act {
            "retrievebootdiagnosticsdata" => {
                let link = format!("{base}/console?sig=a");
                answer(200, &[], json!({"serialConsoleLogBlobUri": link}).to_string().as_bytes())
            }
            "begingetaccess" => {
                let url = format!("https://md-1.blob.core.windows.net{resource}?sig=a");
                self.begin(base, 202, json!({"accessSAS": url}), true)
            }
            "endgetaccess" => {
                found["properties"]["diskState"] = json!("Unattached");
                self.begin(base, 202, Value::Null, true)
            }
            _ => self.begin(base, 202, Value::Null, false),
        }
    }

    /// Begins something; with a location, that is where its result is.
    fn begin(&mut self, base: &str, status: u16, result: Value, place: bool) -> Vec<u8> {
        let number = self.operations.len();
        self.operations.push((0, result));
        let url = format!("{base}/subscriptions/s/operations/{number}?api-version=2024-07-01");
        let location = format!("{url}&monitor=true");
        let mut headers = vec![("Azure-AsyncOperation", url.as_str()), ("Retry-After", "0")];
        if place {
            headers.push(("Location", location.as_str()));
        }
        answer(status, &headers, b"{}")
    }

    fn operation(&mut self, base: &str, path: &str, query: &str) -> Vec<u8> {
        let number = path.rsplit('/').next().and_then(|number| number.parse::<usize>().ok());
        let Some((looks, result)) = number.and_then(|number| self.operations.get_mut(number))
        else {
            return missing();
        };
        *looks += 1;
        let running = *looks < 3;
        if query.contains("monitor=true") {
            let again = format!("{base}{path}?{query}");
            return match running {
                true => answer(202, &[("Location", &again), ("Retry-After", "0")], b""),
                false => answer(200, &[], result.to_string().as_bytes()),
            };
        }
        let status = if running { "InProgress" } else { "Succeeded" };
        answer(200, &[("Retry-After", "0")], json!({"status": status}).to_string().as_bytes())
    }

    fn get(&mut self, key: &str) -> Vec<u8> {
        let list = |value: Value| answer(200, &[], json!({"value": value}).to_string().as_bytes());
        let (resource, last) = key.rsplit_once('/').unwrap_or_default();
        match last {
            "permissions" => list(json!([{"actions": ["*"], "notActions": []}])),
            "skus" | "usages" => list(json!([])),
            "resources" => {
                let inside = self.resources.iter().filter(|(has, _)| has.contains("/providers/"));
                list(inside.map(|(_, resource)| resource.clone()).collect())
            }
            "resourcegroups" => {
                let groups = self.resources.iter().filter(|(has, _)| !has.contains("/providers/"));
                list(groups.map(|(_, group)| group.clone()).collect())
            }
            "checkipaddressavailability" => answer(200, &[], br#"{"available": true}"#),
            "instanceview" if self.resources.contains_key(resource) => {
                let statuses = json!([{"code": "PowerState/running"}]);
                answer(200, &[], json!({"statuses": statuses}).to_string().as_bytes())
            }
            _ if key.contains("/subnets/") => answer(200, &[], b"{}"),
            _ => match self.resources.get(key) {
                Some(found) => answer(200, &[], found.to_string().as_bytes()),
                None => missing(),
            },
        }
    }
}

fn missing() -> Vec<u8> {
    let error = json!({"error": {"code": "ResourceNotFound", "message": "It was not found."}});
    answer(404, &[("x-ms-request-id", "r")], error.to_string().as_bytes())
}
