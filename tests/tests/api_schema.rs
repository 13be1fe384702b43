//! A stranger's tool, schemathesis, reads the document of the API and tries what it allows and what it does not on the real
//! `lifeboat serve` over a small real vault: nothing fails inside, and no answer is other than the document says.

use core::net::SocketAddr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use firmware_web::api::routes::all;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use tests::azurite::{Scratch, install_once, run};
use tests::managing::{Client, PASSWORD};
use tests::program::{Place, checked};

const SCHEMATHESIS: &str = "4.32.5";
/// For how long it tries; longer by `LIFEBOAT_API_SECONDS`.
const SECONDS: u32 = 100;
/// What would reach for hosts of any name on the network, never ends, or lets the tool itself in no more: it learns names from answers.
const LEFT_OUT: [&str; 9] = [
    "eventStream",
    "seen",
    "testVault",
    "setVault",
    "setAlerts",
    "testAlerts",
    "removeUser",
    "setRole",
    "endToken",
];
/// What is looked at: failures inside, and answers that the document does not have.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance";

/// The one error that is none: a connection that was kept has its time, and may end while a request is on its way. It ends without a
/// word, and a client tries again.
const CLOSED: [&str; 2] =
    ["Remote end closed connection without response", "EOF occurred in violation of protocol"];
/// How often that may happen in a run.
const CLOSED_MAX: usize = 3;

/// What the tool calls errors: requests that were not answered at all.
fn errors(said: &str) -> Vec<String> {
    let mut errors: Vec<String> = Vec::new();
    let behind = said.lines().skip_while(|line| !line.contains("= ERRORS ="));
    for line in behind.skip(1).take_while(|line| !line.starts_with("====")) {
        match errors.last_mut() {
            _ if line.starts_with("____") => errors.push(line.to_owned()),
            Some(error) => error.extend(["\n", line]),
            None => {}
        }
    }
    errors
}

/// A serve that ends with this.
struct Serve {
    child: Child,
    address: SocketAddr,
    code: String,
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(place: &Place) -> Serve {
    let mut command = place.verb("serve");
    command.args(["--listen", "127.0.0.1:0"]);
    command
        .args(["--agents", "127.0.0.1:0", "--advertise", "127.0.0.1:9443"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let output = child.stdout.take().expect("a pipe");
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    let (mut address, mut code) = (None, None);
    while address.is_none() || code.is_none() {
        let line = lines.next().expect("it says where it serves, and the code");
        if let Some(rest) = line.strip_prefix("Serving https://") {
            address = rest.trim_end_matches('/').parse().ok();
        }
        if let Some(rest) = line.strip_prefix("Pairing code: ") {
            code = rest.split_whitespace().next().map(str::to_owned);
        }
    }
    // Whatever else it says is read: who cannot print ends.
    std::thread::spawn(move || lines.for_each(drop));
    Serve { child, address: address.expect("an address"), code: code.expect("a code") }
}

fn schemathesis() -> Result<PathBuf, String> {
    let folder = install_once(&format!("python-schemathesis-{SCHEMATHESIS}"), &|folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        run(pip.arg(format!("schemathesis=={SCHEMATHESIS}"))).map(drop)
    })?;
    Ok(folder.join("bin/schemathesis"))
}

#[test]
fn no_request_fails_inside_or_is_answered_otherwise_than_described() {
    let program = match schemathesis() {
        Ok(program) => program,
        Err(error) => {
            eprintln!("SKIPPED: schemathesis cannot be installed here: {error}");
            return;
        }
    };
    let scratch = Scratch::new("api-schema").expect("a folder");
    let place = Place::in_folder(scratch.path());
    let image = scratch.path().join("disk.img");
    fs::write(&image, vec![7; 1 << 20]).expect("an image");
    let mut protect = place.verb("protect");
    protect.args(["--server", "web1"]).arg(&image);
    checked(protect.output().expect("it starts"), "protect");

    let serving = serve(&place);
    let pem = place.state.join("identity.pem");
    let certificate = CertificateDer::from_pem_file(pem).expect("a certificate");
    let nobody = Client::of(serving.address, &certificate);
    let pairing = json!({ "code": serving.code, "name": "anna", "password": PASSWORD });
    let paired = nobody.json("POST", "/setup/pair", &pairing);
    assert_eq!(paired.status, 200, "{}", String::from_utf8_lossy(&paired.body));
    let anna = nobody.of_answer(&paired);
    let again = nobody.json("POST", "/setup/pair", &pairing);
    assert!((400..500).contains(&again.status), "a code is good once: {}", again.status);
    let made = anna.json("POST", "/tokens", &json!({ "name": "tool", "role": "administrator" }));
    let token = made.json()["token"].as_str().expect("a token").to_owned();
    let document = scratch.path().join("openapi.json");
    fs::write(&document, nobody.get("/openapi.json").body).expect("a file");

    let seconds = std::env::var("LIFEBOAT_API_SECONDS").ok().and_then(|it| it.parse().ok());
    let mut command = Command::new(program);
    command.arg("run").arg(&document).current_dir(scratch.path());
    command.args(["--url", &format!("https://{}", serving.address), "--tls-verify", "false"]);
    command.args(["--header", &format!("Authorization: Bearer {token}")]);
    command.args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--seed", "6"]);
    command.args(["--max-time", &seconds.unwrap_or(SECONDS).to_string(), "--workers", "1"]);
    command.args(["--suppress-health-check", "all", "--request-timeout", "60", "--no-shrink"]);
    command.args(["--generation-database", "none", "--continue-on-failure", "--warnings", "off"]);
    for operation in LEFT_OUT {
        command.args(["--exclude-operation-id", operation]);
    }
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let tested = format!("Tested: {}\n", all().count() - LEFT_OUT.len());
    assert!(said.contains(&tested), "not {tested}{said}");
    let errors = errors(&said);
    let strange: Vec<&String> =
        errors.iter().filter(|error| !CLOSED.iter().any(|closed| error.contains(closed))).collect();
    assert!(strange.is_empty(), "{strange:?}\n{said}");
    assert!(errors.len() <= CLOSED_MAX, "{errors:?}");
    assert!(!said.contains("= FAILURES ="), "{said}");
    println!("{}", said.lines().rev().take(25).collect::<Vec<&str>>().join("\n"));
    // Whoever is asked with: what the tool did as an administrator may have ended every session.
    let witness = nobody.with_token(&token);
    let page = witness.get("/audit?limit=1");
    assert_eq!(page.status, 200, "it still serves: {}", String::from_utf8_lossy(&page.body));
    let page = page.json();
    assert_eq!(page["broken"], serde_json::Value::Null, "{page}");
}
