//! Secrets of every kind go through a real `lifeboat serve` that says all it can; afterwards none is in what it said, answered, gave
//! away or kept, but in the one document that is its place. Beside it, all the while, somebody reads every command line.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use serde_json::{Value, json};
use tests::azurite::Scratch;
use tests::paired::Paired;

/// Each secret by what it is, and the document that may hold it.
#[derive(Default)]
struct Secrets(BTreeMap<&'static str, (String, Option<&'static str>)>);

impl Secrets {
    fn make(&mut self, what: &'static str, place: Option<&'static str>) -> String {
        // Long enough for a password, plain enough for every form, and there by no chance.
        let text = format!("MARKED{}{}x", what.replace('-', ""), std::process::id());
        self.0.insert(what, (text.clone(), place));
        text
    }

    fn know(&mut self, what: &'static str, text: &str) {
        assert!(text.len() >= 12, "{what}: {text:?} would be found by chance");
        self.0.insert(what, (text.to_owned(), None));
    }

    /// No secret is in these bytes; as they are, in base64, or percent-encoded, which these have no need of.
    fn none_in(&self, whence: &str, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        for (what, (secret, place)) in &self.0 {
            if place.is_some_and(|place| whence.ends_with(place)) {
                continue;
            }
            assert!(!text.contains(secret.as_str()), "{what} is in {whence}");
            // As much of it as does not depend on what stands around it.
            let coded = pipeline_azure::encode::base64(secret.as_bytes());
            assert!(!text.contains(&coded[..coded.len() - 4]), "{what} is in {whence}, in base64");
        }
    }

    /// The same of every file of a folder, each its owner's alone.
    fn none_below(&self, folder: &Path, private: bool) {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if entry.file_type().expect("a type").is_dir() {
                self.none_below(&path, private);
            } else {
                self.none_in(&path.display().to_string(), &fs::read(&path).expect("a file"));
                let mode = entry.metadata().expect("a file").permissions().mode();
                assert!(!private || mode & 0o077 == 0, "{}: {mode:o}", path.display());
            }
        }
    }
}

/// Reads every command line of the machine until it is told to end.
fn watch(ended: &Arc<AtomicBool>) -> thread::JoinHandle<Vec<u8>> {
    let ended = Arc::clone(ended);
    thread::spawn(move || {
        let mut seen = std::collections::BTreeSet::new();
        while !ended.load(Ordering::SeqCst) {
            let all = fs::read_dir("/proc").expect("processes").flatten();
            let lines = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
            // A person may write a secret into a command line of his own; no process of the appliance's has one.
            let has = |line: &[u8], word: &[u8]| line.windows(word.len()).any(|it| it == word);
            let ours = |line: &Vec<u8>| has(line, b"lifeboat") || has(line, b"/proc/self/exe");
            let is_curl = |line: &Vec<u8>| line.starts_with(b"curl");
            seen.extend(
                lines.filter(|line| ours(line) && !has(line, b"--remote") && !is_curl(line)),
            );
            thread::sleep(Duration::from_millis(2));
        }
        seen.into_iter().collect::<Vec<Vec<u8>>>().concat()
    })
}

/// A verb elsewhere, with something on its standard input; what it said.
fn remote(bed: &Paired, role: &str, words: &[&str], input: &str) -> Vec<u8> {
    let mut command = bed.command(role, &bed.address, Some(&bed.fingerprint), words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    // One that reads nothing has closed it.
    let _ = child.stdin.take().expect("a pipe").write_all(format!("{input}\n").as_bytes());
    let output = child.wait_with_output().expect("it ends");
    [output.stdout, output.stderr].concat()
}

/// What a person may get wrong, with secrets in it; every answer.
fn wrong_values(bed: &Paired, secrets: &mut Secrets) -> Vec<u8> {
    let mut said = Vec::new();
    let mut ask = |method: &str, path: &str, body: Value| {
        let answered = bed.curl.ask(method, path, Some(&body));
        said.extend(format!("{method} {path} {answered:?}\n").into_bytes());
    };
    let guess = secrets.make("wrong-password", None);
    ask("POST", "/session", json!({ "name": "ada", "password": guess }));
    let code = secrets.make("wrong-code", None);
    ask("POST", "/setup/pair", json!({ "code": code, "name": "eve", "password": guess }));
    let azure = "azure://lifeboat0000/site?endpoint=http://127.0.0.1:9/lifeboat0000";
    let key = secrets.make("account-key", None);
    let sas = format!("sv=2024-11-04&sig={}", secrets.make("sas", None));
    let application = secrets.make("client-secret", None);
    let string = format!("AccountName=x;AccountKey={}", secrets.make("connection-string", None));
    let pem = secrets.make("client-certificate", None);
    for credential in [
        json!({ "kind": "account_key", "value": key }),
        json!({ "kind": "sas", "value": sas }),
        json!({ "kind": "connection_string", "value": string }),
        json!({ "kind": "client_secret", "tenant": "t", "client": "c", "value": application }),
        json!({ "kind": "client_certificate", "tenant": "t", "client": "c", "value": pem }),
        json!({ "kind": "no_such_kind", "value": key }),
    ] {
        ask("POST", "/setup/vault/test", json!({ "place": azure, "credential": credential }));
        let recovery = secrets.make("typed-recovery-key", None);
        let passphrase = secrets.make("passphrase", None);
        let adopt = json!({ "place": azure, "credential": credential, "how": "adopt", "key": recovery, "passphrase": passphrase });
        ask("POST", "/setup/vault", adopt);
    }
    // A body that ends in the middle, and fields that nobody knows.
    let torn = format!("{{\"name\": \"ada\", \"password\": \"{guess}");
    let answered = bed.curl.ask_raw("POST", "/session", Some(torn.into_bytes()));
    said.extend(format!("{answered:?}").into_bytes());
    let password = json!({ "name": "x", "role": "viewer", "password": guess, "pasword": guess });
    let answered = bed.curl.ask("POST", "/users", Some(&password));
    said.extend(format!("{answered:?}").into_bytes());
    said
}

/// Secrets that are right: users, tokens, channels whose receivers are not there.
fn right_values(bed: &Paired, secrets: &mut Secrets) -> Vec<u8> {
    let password = secrets.make("password", None);
    let added = json!({ "name": "bert", "role": "operator", "password": password });
    let mut said = bed.curl.change("POST", "/users", &added).to_string().into_bytes();
    let other = secrets.make("other-password", None);
    bed.curl.ask("POST", "/users/bert/password", Some(&json!({ "password": other })));
    let made = bed.curl.change("POST", "/tokens", &json!({ "name": "more", "role": "viewer" }));
    secrets.know("token", made["token"].as_str().expect("a token"));
    let enrolment = bed.curl.ask("POST", "/install", Some(&json!({ "name": "mail1" }))).json();
    if let Some(token) = enrolment["token"].as_str() {
        secrets.know("enrolment-token", token);
    }
    let hook = secrets.make("webhook-secret", Some("/alerts.keep"));
    let mail = secrets.make("smtp-password", Some("/alerts.keep"));
    let letter = json!({ "kind": "mail", "host": "localhost:9", "tls": "tls", "user": "ops", "from": "a@example.com", "to": ["b@example.com"] });
    let channels = json!({ "channels": [
        { "name": "hook", "way": { "kind": "webhook", "url": "https://localhost:9/x" }, "secret": hook },
        { "name": "mail", "way": letter, "secret": mail },
    ] });
    let set = bed.curl.ask("PUT", "/alerts", Some(&channels));
    assert!(set.status < 300, "{set:?}");
    said.extend(format!("{set:?} {:?}", bed.curl.ask("POST", "/alerts/test", None)).into_bytes());
    said
}

/// Verbs that are handed secrets, or make them.
fn verbs(bed: &Paired, secrets: &mut Secrets) -> Vec<u8> {
    let signature = secrets.make("disk-signature", None);
    let to = format!("sas:https://127.0.0.1:9/x/y.vhd?sig={signature}");
    let disk = ["hydrate", "--server", "web1", "--disk", "sda", "--to", &to];
    let mut said = remote(bed, "operator", &disk, "");
    let piped = secrets.make("piped-password", None);
    said.extend(remote(bed, "administrator", &["user", "add", "carl"], &piped));
    let short = secrets.make("refused-password", None);
    said.extend(remote(bed, "viewer", &["user", "add", "dora"], &short));
    said.extend(remote(bed, "administrator", &["user", "list"], ""));
    let made = remote(bed, "operator", &["server", "token", "--page", &bed.address], "");
    let made = String::from_utf8_lossy(&made).into_owned();
    // It is shown to who asked for it, and to nobody else.
    let token = made.split_whitespace().max_by_key(|word| word.len()).unwrap_or_default();
    secrets.know("server-token", token);
    said.extend(remote(bed, "viewer", &["verify"], ""));
    said.extend(remote(bed, "operator", &["verify", "--deep"], ""));
    said
}

/// Everything that can be asked for, and the bundle unpacked.
fn given_away(bed: &Paired, secrets: &Secrets) {
    for path in [
        "/alerts",
        "/appliance",
        "/approvals",
        "/audit?limit=500",
        "/events",
        "/jobs",
        "/orders",
        "/overview",
        "/plans",
        "/session",
        "/sessions",
        "/setup/network",
        "/tokens",
        "/users",
        "/vault",
        "/vault/kit",
        "/metrics",
        "/servers/web1",
        "/openapi.json",
    ] {
        let answered = bed.curl.ask("GET", path, None);
        secrets.none_in(path, format!("{} {}", answered.headers, answered.body).as_bytes());
    }
    let bundle = bed.folder.join("bundle.tar.gz");
    let address = format!("https://{}/api/v1/support-bundle", bed.address);
    let token = fs::read_to_string(bed.folder.join("administrator")).expect("a token");
    let config = bed.folder.join("curl.conf");
    fs::write(&config, format!("header = \"Authorization: Bearer {token}\"\n")).expect("a file");
    let got = Command::new("curl")
        .args(["--silent", "--insecure", "--fail", "--config"])
        .arg(&config)
        .arg("--output")
        .arg(&bundle)
        .arg(address)
        .status();
    assert!(got.expect("curl").success());
    let bundle = Command::new("tar").args(["-xzOf"]).arg(&bundle).output().expect("tar");
    assert!(bundle.status.success() && bundle.stdout.len() > 1000);
    secrets.none_in("the support bundle", &bundle.stdout);
}

#[test]
fn no_secret_is_said_answered_given_away_or_kept_but_in_its_place() {
    let scratch = Scratch::new("secrets").expect("a folder");
    let mut secrets = Secrets::default();
    let (key, client) =
        (secrets.make("environment-key", None), secrets.make("environment-client", None));
    let environment =
        [("AZURE_STORAGE_KEY", key.as_str()), ("AZURE_CLIENT_SECRET", client.as_str())];
    let bed = Paired::new(scratch.path(), &environment);
    let recovery = fs::read_to_string(&bed.place.key).expect("the key");
    let longest = recovery.split_whitespace().max_by_key(|word| word.len()).unwrap_or_default();
    secrets.know("recovery-key", longest);
    for role in ["viewer", "operator", "administrator"] {
        secrets.know(role, &fs::read_to_string(bed.folder.join(role)).expect("a token"));
    }
    let ended = Arc::default();
    let watcher = watch(&ended);
    let said = wrong_values(&bed, &mut secrets);
    secrets.none_in("the answers to wrong values", &said);
    let said = right_values(&bed, &mut secrets);
    secrets.none_in("the answers to right values", &said);
    let said = verbs(&bed, &mut secrets);
    secrets.none_in("what verbs say", &said);
    given_away(&bed, &secrets);
    // Who is not the process's owner reads neither its environment nor its memory.
    let pid = bed.serving.id();
    let mode =
        fs::metadata(format!("/proc/{pid}/environ")).expect("a process").permissions().mode();
    assert_eq!(mode & 0o077, 0, "the environment is its owner's alone");
    ended.store(true, Ordering::SeqCst);
    secrets.none_in("command lines", &watcher.join().expect("it ends"));
    let folder = bed.folder.clone();
    drop(bed);
    let log = fs::read(folder.join("serve.log")).expect("the log");
    // What its services could say more than warnings they do not say: the courier has what is said of requests.
    assert!(log.len() > 100, "it was to say all it can: {}", log.len());
    secrets.none_in("the log", &log);
    secrets.none_below(&folder.join("served"), true);
    secrets.none_below(&folder.join("vault"), false);
}

/// The hunter finds what it hunts, or the test above would be worth nothing.
#[test]
fn a_secret_is_found_plain_and_in_base64_and_allowed_in_its_place_alone() {
    let mut secrets = Secrets::default();
    let secret = secrets.make("planted", Some("/alerts.keep"));
    let coded = pipeline_azure::encode::base64(secret.as_bytes());
    let is_found = |whence: &str, text: String| {
        let secrets = &secrets;
        std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| {
            secrets.none_in(whence, text.as_bytes());
        }))
        .is_err()
    };
    for text in [format!("a {secret} b"), format!("\"{coded}\""), secret.clone()] {
        assert!(is_found("the log", text.clone()), "{text}");
        assert!(!is_found("served/alerts.keep", text));
    }
    assert!(!is_found("the log", "nothing".to_owned()));
}
