//! Promise: a machine comes from nobody to a protected server by its page alone, whatever is typed wrong on the way and
//! wherever it is killed.
//!
//! The real `lifeboat serve` without a vault, asked by curl; vaults in a folder and in Azurite. What is killed is killed with
//! SIGKILL between any two stages, and started again on the same folder.

use core::time::Duration;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

use pipeline_azure::address::AzureAddress;
use pipeline_azure::sas::make::{Resource, Terms, service};
use pipeline_azure::secret::Secret;
use pipeline_azure::sign::SharedKey;
use tests::azurite::certificates::Certificates;
use tests::azurite::{ACCOUNT, Azurite, KEY, Scratch, free_port};
use tests::curl::Curl;
use tests::points;
use tests::program::{Place, lifeboat};
use tests::scripted_agent::ScriptedAgent;

use pipeline::limits::BLOCK_BYTES;

/// Whoever vouches for the vault's host.
#[path = "first_run/authority.rs"]
mod authority;
/// What opens the vault, changed.
#[path = "first_run/renewal.rs"]
mod renewal;

const PASSWORD: &str = "a lifeboat holds everybody";
const DISK: usize = 16 * BLOCK_BYTES;
/// Longest wait for a line of the program's.
const LINE: Duration = Duration::from_secs(60);

/// A machine that nobody set up yet: its folder outlives it.
struct Fresh {
    state: PathBuf,
    port: u16,
    agents: Option<u16>,
    environment: Vec<(String, String)>,
    running: Option<(Child, Receiver<String>)>,
    curl: Curl,
}

impl Fresh {
    fn new(folder: &Path) -> Self {
        let port = free_port().expect("a port");
        let curl = Curl::new(&format!("https://127.0.0.1:{port}"));
        Self {
            state: folder.join("state"),
            port,
            agents: None,
            environment: Vec::new(),
            running: None,
            curl,
        }
    }

    /// Starts it; the code that it shows, if it shows one.
    fn start(&mut self) -> Option<String> {
        let mut command = Command::new(lifeboat());
        command.args(["serve", "--listen", &format!("127.0.0.1:{}", self.port), "--state"]);
        command.arg(&self.state);
        if let Some(port) = self.agents {
            command.args(["--agents", &format!("127.0.0.1:{port}")]);
        }
        command.env_clear().envs(self.environment.iter().cloned());
        let piped = command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = piped.spawn().expect("the program starts");
        let output = child.stdout.take().expect("a pipe");
        let (tell, told) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // A test that ended hears no more.
                let _ = tell.send(line);
            }
        });
        self.running = Some((child, told));
        let mut code = None;
        loop {
            let line = self.line();
            if let Some(rest) = line.strip_prefix("Pairing code: ") {
                code = rest.split_whitespace().next().map(str::to_owned);
            }
            if line.starts_with("Stop it with") {
                return code;
            }
        }
    }

    fn line(&self) -> String {
        let (_, told) = self.running.as_ref().expect("it runs");
        told.recv_timeout(LINE).expect("the program says more")
    }

    /// Waits until it says a line that begins so.
    fn await_line(&self, begin: &str) -> String {
        loop {
            let line = self.line();
            if line.starts_with(begin) {
                return line;
            }
        }
    }

    fn kill(&mut self) {
        if let Some((mut child, _)) = self.running.take() {
            child.kill().expect("it can be killed");
            child.wait().expect("it is gone");
        }
    }

    /// Killed at once, and started again; it shows no code any more. Sessions do not outlive the program.
    fn kill_and_go_on(&mut self) {
        self.kill();
        assert_eq!(self.start(), None, "it is paired");
        self.curl.begin("/session", &json!({"name": "ada", "password": PASSWORD}));
    }

    fn pair(&mut self, code: &str) {
        self.curl.begin("/setup/pair", &json!({"code": code, "name": "ada", "password": PASSWORD}));
    }

    fn stage(&self) -> String {
        self.curl.get("/setup")["stage"].as_str().unwrap_or_default().to_owned()
    }

    /// What is refused: its status and field.
    #[track_caller]
    fn refused(&self, method: &str, path: &str, body: &Value) -> (u16, String) {
        let stage = self.stage();
        let answered = self.curl.ask(method, path, Some(body));
        assert!(answered.status >= 400, "{method} {path} {body} is not refused: {answered:?}");
        assert!(
            answered.headers.to_lowercase().contains("application/problem+json"),
            "{answered:?}"
        );
        assert!(!answered.detail().is_empty(), "{answered:?}");
        assert_eq!(self.stage(), stage, "what was refused changes nothing");
        (answered.status, answered.field())
    }

    /// Paired, and past the question for the network.
    fn reach_the_vault(&mut self) {
        let code = self.start().expect("a code");
        self.pair(&code);
        self.curl.change("PUT", "/setup/network", &json!({"keep": true}));
        assert_eq!(self.stage(), "vault");
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn new_vault(place: &str) -> Value {
    json!({"place": place, "how": "new"})
}

fn letters(key: &Value) -> Vec<String> {
    let groups = key["groups"].as_array().expect("groups").iter();
    groups.map(|group| group.as_str().expect("letters").to_owned()).collect()
}

fn time() -> Value {
    json!({"zone": "Europe/Berlin", "zone_minutes": 60, "calendar": {"rows": [], "otherwise_bytes_per_second": 0}})
}

#[test]
fn from_nobody_to_the_first_point_with_a_kill_between_any_two_stages() {
    let scratch = Scratch::new("first-run").expect("a scratch folder");
    let folder = scratch.path();
    let mut fresh = Fresh::new(folder);
    let agents = free_port().expect("a port");
    fresh.agents = Some(agents);
    let first = fresh.start().expect("a code");
    assert_eq!(fresh.curl.get("/setup"), json!({"stage": "pair"}), "nothing else is told");
    assert_eq!(fresh.curl.ask("GET", "/overview", None).status, 401);
    fresh.kill();
    let code = fresh.start().expect("a code");
    assert_ne!(code, first, "a code is good until the next start");
    fresh.pair(&code);
    fresh.kill_and_go_on();
    assert_eq!(fresh.stage(), "network");
    let network = fresh.curl.get("/setup/network");
    assert_eq!((&network["changeable"], &network["source"]), (&json!(false), &json!("system")));
    fresh.curl.change("PUT", "/setup/network", &json!({"keep": true}));
    fresh.kill_and_go_on();
    assert_eq!(fresh.stage(), "vault");
    let place = format!("dir:{}", folder.join("vault").display());
    let tested = fresh.curl.change("POST", "/setup/vault/test", &json!({"place": place}));
    assert_eq!((&tested["good"], &tested["holds"]), (&json!(true), &json!("nothing")), "{tested}");
    assert!(!folder.join("vault").exists(), "nothing of the test stays");
    let made = fresh.curl.change("POST", "/setup/vault", &new_vault(&place));
    let key = letters(&made["key"]);
    fresh.kill_and_go_on();
    assert_eq!(fresh.stage(), "key");
    let again = fresh.curl.change("POST", "/setup/key", &json!({"again": true}));
    assert_eq!(letters(&again["key"]), key, "who lost the answer has it once more");
    fresh.curl.change("POST", "/setup/key", &json!({"typed": key.join(" ")}));
    fresh.kill_and_go_on();
    assert_eq!(fresh.stage(), "time");
    fresh.curl.change("PUT", "/setup/time", &time());
    // Without a new start: agents are taken now.
    fresh.await_line("Agents connect to ");
    fresh.kill_and_go_on();
    assert_eq!(fresh.stage(), "done");
    fresh.await_line("Agents connect to ");
    let answered = fresh.curl.ask("GET", "/setup", None);
    for group in &key {
        assert!(!answered.body.contains(group.as_str()), "no secret is told back");
    }
    let line = fresh.curl.change("POST", "/install", &json!({"name": "web1"}))["line"].clone();
    let token = token_of(line.as_str().expect("a line"));
    let mut agent = ScriptedAgent::enrol(&token, "web1", DISK, 11).expect("it is let in");
    agent.connect_patiently();
    agent.write_some(8);
    let cut = agent.cut();
    agent.work_until("the first point", |agent| agent.vaulted >= cut);
    agent.hang_up();
    fresh.kill();
    // What the browser was shown opens the vault on a machine that has never seen this one.
    fs::write(folder.join("key"), key.join("-")).expect("a file");
    let place = Place {
        vault: place,
        key: folder.join("key"),
        state: folder.join("elsewhere"),
        environment: Vec::new(),
    };
    points::check(&place, &agent, folder, 1);
}

/// The token in a line that is run on a server.
fn token_of(line: &str) -> String {
    let words = line.split(|letter: char| letter.is_whitespace() || "'\"".contains(letter));
    let mut tokens = words.filter(|word| word.parse::<pipeline_wire::enrol::Token>().is_ok());
    tokens.next().unwrap_or_else(|| panic!("no token in {line}")).to_owned()
}

#[test]
fn whatever_is_typed_is_refused_beside_its_field_and_changes_nothing() {
    let scratch = Scratch::new("first-run-bad").expect("a scratch folder");
    let folder = scratch.path();
    let mut fresh = Fresh::new(folder);
    let code = fresh.start().expect("a code");
    let pairing =
        |code: &str, password: &str| json!({"code": code, "name": "ada", "password": password});
    let refused = |body: &Value| fresh.refused("POST", "/setup/pair", body);
    assert_eq!(refused(&pairing(&code, "short")), (422, "/password".to_owned()));
    assert_eq!(refused(&pairing("0000-0000", PASSWORD)), (403, "/code".to_owned()));
    assert_eq!(refused(&json!({"code": code})).0, 400);
    assert_eq!(refused(&json!({"code": code, "name": "", "password": PASSWORD})).1, "/name");
    let raw = |bytes: Vec<u8>| fresh.curl.ask_raw("POST", "/setup/pair", Some(bytes)).status;
    assert_eq!(raw(vec![0xFF; 40]), 400);
    assert_eq!(raw(b"{".to_vec()), 400);
    let long = raw(vec![b'a'; 4 << 20]);
    assert!([400, 413].contains(&long), "{long}");
    for path in ["/setup/network", "/setup/vault", "/setup/key", "/setup/time"] {
        let status = fresh.curl.ask("POST", path, Some(&json!({}))).status;
        assert!([401, 405].contains(&status), "{path}: {status}");
    }
    fresh.pair(&code);
    assert_eq!(fresh.refused("POST", "/setup/pair", &pairing(&code, PASSWORD)).0, 409);
    // Nor is that a way around the pause of whoever guesses passwords.
    let guess = json!({"name": "ada", "password": "wrong horse battery"});
    let held_up = (0..12).any(|_| {
        let paired = fresh.refused("POST", "/setup/pair", &pairing(&code, PASSWORD)).0;
        assert!([409, 429].contains(&paired), "{paired}");
        let guessed = fresh.refused("POST", "/session", &guess).0;
        assert!([401, 429].contains(&guessed), "{guessed}");
        guessed == 429
    });
    assert!(held_up, "a dozen guesses, and no pause");
    assert_eq!(fresh.refused("PUT", "/setup/network", &json!({"settings": ""})).0, 409);
    fresh.curl.change("PUT", "/setup/network", &json!({"keep": true}));
    fs::create_dir_all(folder.join("photos")).expect("a folder");
    fs::write(folder.join("photos/one.jpg"), b"x").expect("a file");
    let photos = format!("dir:{}", folder.join("photos").display());
    for place in ["", "nonsense", "dir:relative", "azure://A/b", photos.as_str(), &"a".repeat(5000)]
    {
        assert_eq!(
            fresh.refused("POST", "/setup/vault", &new_vault(place)),
            (422, "/place".to_owned()),
            "{place:.40}"
        );
    }
    let place = format!("dir:{}", folder.join("vault").display());
    let key = letters(&fresh.curl.change("POST", "/setup/vault", &new_vault(&place))["key"]);
    for (group, letters) in key.iter().enumerate() {
        let mut typed = key.clone();
        typed[group] = letters.chars().rev().collect();
        if typed[group] == *letters {
            continue;
        }
        let answered =
            fresh.curl.ask("POST", "/setup/key", Some(&json!({"typed": typed.join("-")})));
        assert_eq!((answered.status, answered.field().as_str()), (422, "/typed"), "{answered:?}");
        assert!(
            answered.detail().contains(&format!("group {}", group + 1)),
            "{}",
            answered.detail()
        );
    }
    assert_eq!(fresh.stage(), "key");
    fresh.curl.change("POST", "/setup/key", &json!({"typed": key.concat()}));
    let zone = json!({"zone": "<script>", "zone_minutes": 0});
    assert_eq!(fresh.refused("PUT", "/setup/time", &zone), (422, "/zone".to_owned()));
    let servers = json!({"zone": "UTC", "zone_minutes": 0, "servers": ["192.0.2.1"]});
    assert_eq!(fresh.refused("PUT", "/setup/time", &servers), (422, "/servers".to_owned()));
    fresh.curl.change("PUT", "/setup/time", &time());
    assert_eq!(fresh.refused("POST", "/setup/vault", &new_vault(&place)).0, 409);
    adopt_elsewhere(folder, &place, &key);
}

/// Another machine takes the vault over: only by who saw what it is.
fn adopt_elsewhere(folder: &Path, place: &str, key: &[String]) {
    let mut other = Fresh::new(&folder.join("other"));
    other.reach_the_vault();
    let adopt = |key: &str, confirm: Option<&str>| json!({"place": place, "how": "adopt", "key": key, "confirm": confirm});
    assert_eq!(
        other.refused("POST", "/setup/vault", &new_vault(place)),
        (422, "/place".to_owned())
    );
    assert_eq!(other.refused("POST", "/setup/vault", &adopt("", None)), (422, "/key".to_owned()));
    let typo = key.join("-").replacen('-', "!", 1);
    assert_eq!(
        other.refused("POST", "/setup/vault", &adopt(&typo, None)),
        (422, "/key".to_owned())
    );
    // A key that is whole, and of another vault.
    let strange = format!("dir:{}", folder.join("strange").display());
    let made = other.curl.change("POST", "/setup/vault", &new_vault(&strange));
    let foreign = letters(&made["key"]).join("-");
    assert_eq!(
        other.refused("POST", "/setup/vault", &adopt(&foreign, None)),
        (422, "/key".to_owned())
    );
    let looked = other.curl.change("POST", "/setup/vault", &adopt(&key.join("-"), None));
    let vault = looked["found"]["vault"].as_str().expect("an identity").to_owned();
    assert_eq!(looked["stage"], json!("key"), "nothing is taken over by looking: {looked}");
    assert_eq!(
        other.refused("POST", "/setup/vault", &adopt(&key.join("-"), Some("x"))),
        (422, "/confirm".to_owned())
    );
    let taken = other.curl.change("POST", "/setup/vault", &adopt(&key.join("-"), Some(&vault)));
    assert_eq!(taken["stage"], json!("time"));
    other.curl.change("PUT", "/setup/time", &time());
    other.kill_and_go_on();
    assert_eq!(other.stage(), "done");
}

/// The steps of a test, with how each stands.
fn steps(tested: &Value) -> Vec<(String, String)> {
    let rows = tested["rows"].as_array().expect("rows").iter();
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    rows.map(|row| (text(row, "step"), text(row, "standing"))).collect()
}

#[track_caller]
fn stands(tested: &Value, step: &str) -> String {
    let steps = steps(tested);
    let found = steps.iter().find(|(name, _)| name == step);
    found.map(|(_, standing)| standing.clone()).unwrap_or_else(|| panic!("no {step} in {tested}"))
}

#[test]
fn a_vault_in_azure_is_tested_live_and_nothing_of_the_test_stays() {
    let azurite = Azurite::start().unwrap_or_else(|error| panic!("{error}"));
    let scratch = Scratch::new("first-run-azure").expect("a scratch folder");
    let folder = scratch.path();
    let mut fresh = Fresh::new(folder);
    fresh.reach_the_vault();
    let credential = |value: &str| json!({"kind": "account_key", "value": value});
    let test = |place: &str, credential: Value| {
        fresh.curl.change(
            "POST",
            "/setup/vault/test",
            &json!({"place": place, "credential": credential}),
        )
    };
    let place = azurite.vault("site");
    // The container is not there, and is not made by a test.
    let tested = test(&place, credential(KEY));
    assert_eq!(stands(&tested, "container"), "warning", "{tested}");
    assert_eq!(stands(&tested, "route"), "good");
    // Somebody else's key, an address where nobody is, and a name that is none.
    let tested = test(&place, credential("c29tZWJvZHkgZWxzZQ=="));
    assert_eq!(
        (&tested["good"], stands(&tested, "list").as_str()),
        (&json!(false), "bad"),
        "{tested}"
    );
    let nobody = format!(
        "azure://{ACCOUNT}/site?endpoint=http://127.0.0.1:{}/{ACCOUNT}",
        free_port().expect("a port")
    );
    assert_eq!(stands(&test(&nobody, credential(KEY)), "route"), "bad");
    let nowhere = "azure://lifeboat0nowhere/site?endpoint=https://lifeboat.invalid";
    assert_eq!(stands(&test(nowhere, credential(KEY)), "name"), "bad");
    let refused = |body: &Value| fresh.refused("POST", "/setup/vault", body);
    let ask = |place: &str, credential: Value| json!({"place": place, "how": "new", "credential": credential});
    assert_eq!(refused(&ask(&place, credential("c29tZWJvZHkgZWxzZQ=="))).1, "/credential/value");
    assert_eq!(refused(&ask(&place, credential("no base64!"))).1, "/credential/value");
    assert_eq!(
        refused(&ask(&place, json!({"kind": "sas", "value": "no signature"}))).1,
        "/credential/value"
    );
    let made = fresh.curl.change("POST", "/setup/vault", &ask(&place, credential(KEY)));
    let key = letters(&made["key"]);
    let count = || objects(&azurite, "site");
    let before = count();
    let tested = test(&place, credential(KEY));
    assert_eq!((&tested["good"], &tested["holds"]), (&json!(true), &json!("vault")), "{tested}");
    assert_eq!(stands(&tested, "speed"), "good", "{tested}");
    // An identity that may not delete is enough, and leaves nothing behind either.
    let tested = test(&place, json!({"kind": "sas", "value": signature("rcwl")}));
    assert_eq!(tested["good"], json!(true), "{tested}");
    assert!(tested["rows"].to_string().contains("may not be deleted"), "{tested}");
    // One that may only read is not.
    let tested = test(&place, json!({"kind": "sas", "value": signature("rl")}));
    assert_eq!(
        (&tested["good"], stands(&tested, "create").as_str()),
        (&json!(false), "bad"),
        "{tested}"
    );
    assert_eq!(count(), before, "nothing of the tests stays behind");
    fresh.curl.change("POST", "/setup/key", &json!({"typed": key.concat()}));
    fresh.curl.change("PUT", "/setup/time", &time());
    fresh.kill_and_go_on();
    assert_eq!(fresh.stage(), "done");
    let shown = fresh.curl.get("/setup").to_string();
    assert!(!shown.contains(KEY) && shown.contains("an account key"), "{shown}");
}

/// A signature for the container `site` with these permissions.
fn signature(permissions: &str) -> String {
    let key = SharedKey::new(ACCOUNT, &Secret::new(KEY)).expect("a key");
    let terms = Terms {
        permissions: permissions.to_owned(),
        expiry: "2099-01-01T00:00:00Z".to_owned(),
        version: "2024-11-04".to_owned(),
        ..Terms::default()
    };
    let token = service(&key, &terms, Resource::Container { container: "site" });
    token.expect("a signature").query().expose().to_owned()
}

/// Names of all objects, by our own store.
fn objects(azurite: &Azurite, container: &str) -> Vec<String> {
    use pipeline_azure::credentials::Credentials;
    use pipeline_azure::store::{AzureOptions, AzureStore};
    let address = AzureAddress::parse(&azurite.vault(container)).expect("an address");
    let key = Credentials::shared_key(ACCOUNT, &Secret::new(KEY)).expect("a key");
    let store = AzureStore::open(&address, key, AzureOptions::default()).expect("a store");
    let all = pipeline_vault::store::list_all(&store, "").expect("a listing");
    all.into_iter().map(|object| object.name).collect()
}

#[test]
fn a_certificate_of_ones_own_is_shown_by_name_and_the_machines_by_address() {
    let scratch = Scratch::new("first-run-certificate").expect("a scratch folder");
    let folder = scratch.path();
    let mut fresh = Fresh::new(folder);
    fresh.reach_the_vault();
    let certificates = Certificates::make(&["lifeboat.example"]).expect("certificates");
    let files = certificates.server();
    let (chain, key) = (fs::read_to_string(&files.certificate), fs::read_to_string(&files.key));
    let (chain, key) = (chain.expect("a chain"), key.expect("a key"));
    let resolve = format!("lifeboat.example:{}:127.0.0.1", fresh.port);
    let named = Curl::new(&format!("https://lifeboat.example:{}", fresh.port));
    let named = named.by_name(&resolve, &certificates.ca().display().to_string());
    assert_eq!(named.ask("GET", "/setup", None).status, 0, "nobody vouches for the machine's own");
    let strangers = Certificates::make(&["other.example"]).expect("certificates");
    let stranger = fs::read_to_string(strangers.server().key).expect("a key");
    let refused = |chain: &str, key: &str| {
        fresh.refused("PUT", "/setup/certificate", &json!({"chain": chain, "key": key})).1
    };
    assert_eq!(refused(&chain, &stranger), "/key");
    assert_eq!(refused(&chain, "nonsense"), "/key");
    assert_eq!(refused("nonsense", &key), "/chain");
    let set = fresh.curl.change("PUT", "/setup/certificate", &json!({"chain": chain, "key": key}));
    let names = set["own"]["names"].as_array().expect("names");
    assert!(names.contains(&json!("lifeboat.example")), "{set}");
    assert_eq!(
        named.ask("GET", "/setup", None).status,
        200,
        "its authority vouches for it at once"
    );
    fresh.kill_and_go_on();
    assert_eq!(named.ask("GET", "/setup", None).status, 200, "and behind a new start");
    fresh.curl.change("PUT", "/setup/certificate", &json!({"chain": "", "key": ""}));
    assert_eq!(named.ask("GET", "/setup", None).status, 0, "it is taken away");
}
