//! Promise: what goes wrong is told to whoever is to know, by webhook, syslog and mail, and told to be over; and what is measured is
//! measured as Prometheus wants it.
//!
//! The real `lifeboat serve`; aiosmtpd of PyPI, rsyslog of Debian and Python's web server as those that are told, `promtool` of
//! Debian as the judge of `/metrics`.

use core::time::Duration;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use serde_json::{Value, json};
use tests::azurite::{Scratch, free_port, install_once, run};
use tests::paired::Paired;
use tests::program::checked;

/// What hears mail and webhooks: it says what it heard, a line of JSON each.
const RECEIVER: &str = include_str!("alerts/receiver.py");
const AIOSMTPD: &str = "aiosmtpd==1.4.6";
const SECRET: &str = "correct-horse";
const LINE: Duration = Duration::from_secs(240);

/// Where aiosmtpd is, installed once.
fn aiosmtpd() -> PathBuf {
    let installed = install_once("aiosmtpd", &|folder| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]);
        run(pip.arg(folder).arg(AIOSMTPD)).map(drop)
    });
    installed.unwrap_or_else(|error| panic!("{error}"))
}

/// A process that ends with the test.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A certificate for `localhost`, by openssl: key and certificate in this folder.
fn certificate(folder: &Path) {
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "30",
        "-subj",
        "/CN=localhost",
    ]);
    openssl
        .args(["-addext", "subjectAltName=DNS:localhost", "-keyout"])
        .arg(folder.join("key.pem"));
    openssl.arg("-out").arg(folder.join("cert.pem"));
    checked(openssl.output().expect("openssl"), "openssl");
}

/// Mail by STARTTLS and by TLS, webhooks by HTTPS; what they hear.
fn receiver(folder: &Path) -> (Ending, [u16; 3], Receiver<Value>) {
    let script = folder.join("receiver.py");
    fs::write(&script, RECEIVER).expect("a file");
    let ports = [(); 3].map(|()| free_port().expect("a port"));
    let mut command = Command::new("python3");
    command
        .env("PYTHONPATH", aiosmtpd())
        .arg(&script)
        .arg(folder.join("cert.pem"))
        .arg(folder.join("key.pem"))
        .arg(SECRET);
    command.args(ports.map(|port| port.to_string())).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("python starts");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for line in lines {
            // A test that ended hears no more.
            let _ = tell.send(serde_json::from_str(&line).expect("JSON"));
        }
    });
    let child = Ending(child);
    let ready: Value = told.recv_timeout(LINE).expect("it is ready");
    assert_eq!(ready["ready"], true);
    (child, ports, told)
}

/// rsyslog with a door for each way, which writes what it heard to a file, taken apart by its own parser.
fn rsyslog(folder: &Path) -> (Ending, [u16; 2], PathBuf) {
    let (udp, tcp) = (free_port().expect("a port"), free_port().expect("a port"));
    let heard = folder.join("syslog");
    let settings = format!(
        "module(load=\"imudp\")\nmodule(load=\"imtcp\")\ninput(type=\"imudp\" port=\"{udp}\" address=\"127.0.0.1\")\n\
         input(type=\"imtcp\" port=\"{tcp}\" address=\"127.0.0.1\")\n\
         template(name=\"apart\" type=\"string\" string=\"%syslogfacility-text%|%syslogseverity-text%|%protocol-version%|%app-name%|%msgid%|%structured-data%|%msg%\\n\")\n\
         action(type=\"omfile\" file=\"{}\" template=\"apart\")\n",
        heard.display()
    );
    let path = folder.join("rsyslog.conf");
    fs::write(&path, settings).expect("a file");
    let mut command = Command::new("rsyslogd");
    command.args(["-n", "-f"]).arg(&path).arg("-i").arg(folder.join("rsyslog.pid"));
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = Ending(child.expect("rsyslogd starts"));
    let until = Instant::now() + LINE;
    while std::net::TcpStream::connect(("127.0.0.1", tcp)).is_err() {
        assert!(Instant::now() < until, "rsyslog does not listen");
        std::thread::sleep(Duration::from_millis(100));
    }
    (child, [udp, tcp], heard)
}

fn channels(ports: [u16; 3], logs: [u16; 2]) -> Value {
    let mail = |port: u16, tls: &str| json!({"kind": "mail", "host": format!("localhost:{port}"), "tls": tls, "user": "ops", "from": "box@example.com", "to": ["a@example.com"]});
    let syslog = |port: u16, by: &str| json!({"kind": "syslog", "host": format!("localhost:{port}"), "by": by});
    let hook = json!({"kind": "webhook", "url": format!("https://localhost:{}/hook", ports[2])});
    json!({"channels": [
        {"name": "starttls", "way": mail(ports[0], "starttls"), "secret": SECRET},
        {"name": "tls", "way": mail(ports[1], "tls"), "secret": SECRET},
        {"name": "hook", "way": hook, "secret": SECRET},
        {"name": "udp", "way": syslog(logs[0], "udp")},
        {"name": "tcp", "way": syslog(logs[1], "tcp")},
    ]})
}

#[test]
fn a_vault_that_is_refused_is_told_by_every_way_and_so_is_its_return() {
    let scratch = Scratch::new().expect("a folder");
    let folder = scratch.path();
    certificate(folder);
    let (_receiver, ports, told) = receiver(folder);
    let (_rsyslog, logs, heard) = rsyslog(folder);
    let authority = folder.join("cert.pem").display().to_string();
    let bed = Paired::new(folder, &[("LIFEBOAT_CA_FILE", &authority)]);
    let view = bed.curl.change("PUT", "/alerts", &channels(ports, logs));
    assert!(!view.to_string().contains(SECRET) && view["channels"][0]["set"] == true, "{view}");
    let tests = bed.curl.change("POST", "/alerts/test", &json!({}));
    let tests = tests.as_array().expect("a list");
    assert!(tests.len() == 5 && tests.iter().all(|test| test["taken"] == true), "{tests:?}");
    for _ in 0..3 {
        let test = told.recv_timeout(LINE).expect("a test message");
        assert!(
            test["text"].as_str().is_some_and(|text| text.contains("this is a test")),
            "{test}"
        );
    }
    let (vault, away) = (folder.join("vault"), folder.join("away"));
    for (event, health) in [("raised", "bad"), ("over", "bad")] {
        let (from, to) = if event == "raised" { (&vault, &away) } else { (&away, &vault) };
        fs::rename(from, to).expect("it moves");
        let mut ways = Vec::new();
        while ways.len() < 3 {
            let message = told
                .recv_timeout(LINE)
                .unwrap_or_else(|_| panic!("{event} is told by {ways:?} alone"));
            let way = message["way"].as_str().expect("a way").to_owned();
            if way == "webhook" {
                assert_eq!(
                    (
                        message["event"].as_str(),
                        message["kind"].as_str(),
                        message["health"].as_str()
                    ),
                    (Some(event), Some("vault_refused"), Some(health)),
                    "{message}"
                );
            }
            let text = message["text"].as_str().expect("a text");
            assert!(text.contains("The vault takes nothing"), "{text}");
            ways.push(way);
        }
        ways.sort_unstable();
        assert_eq!(ways, ["starttls", "tls", "webhook"]);
        let standing = bed.curl.get("/alerts")["standing"].as_array().expect("a list").len();
        assert_eq!(standing, usize::from(event == "raised"));
    }
    let until = Instant::now() + LINE;
    let wanted = |log: &str| {
        [
            "daemon|err|1|lifeboat|vault_refused|[origin software=\"lifeboat\"",
            "daemon|notice|1|lifeboat|vault_refused|",
        ]
        .into_iter()
        .all(|begin| log.lines().filter(|line| line.starts_with(begin)).count() == 2)
    };
    loop {
        let log = fs::read_to_string(&heard).unwrap_or_default();
        if wanted(&log) {
            break;
        }
        assert!(Instant::now() < until, "by UDP and TCP each: {log}");
        std::thread::sleep(Duration::from_millis(200));
    }
    let events = bed.curl.get("/events?text=vault&limit=50").to_string();
    assert!(events.contains("alert_over"), "{events}");
}

#[test]
fn what_is_measured_passes_promtool_and_only_a_known_reader_gets_it() {
    let scratch = Scratch::new().expect("a folder");
    let bed = Paired::new(scratch.path(), &[]);
    let token = fs::read_to_string(bed.folder.join("viewer")).expect("a token");
    let get = |headers: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--insecure", "--write-out", "\n%{http_code}"]);
        headers.iter().for_each(|header| drop(curl.args(["--header", header])));
        curl.arg(format!("https://{}/metrics", bed.address));
        let text = checked(curl.output().expect("curl"), "curl");
        let (body, status) = text.rsplit_once('\n').expect("a status");
        (body.to_owned(), status.to_owned())
    };
    assert_eq!(get(&[]).1, "401");
    let bearer = format!("authorization: Bearer {token}");
    let until = Instant::now() + LINE;
    let text = loop {
        let (text, status) = get(&[&bearer]);
        assert_eq!(status, "200");
        // Until the vault was looked at for the first time.
        if text.contains("lifeboat_server_points{server=\"web1\"} 2")
            && text.contains("\nlifeboat_up 1\n")
        {
            break text;
        }
        assert!(Instant::now() < until, "{text}");
        std::thread::sleep(Duration::from_millis(500));
    };
    assert!(
        text.contains("lifeboat_http_requests_total{code=\"4xx\"}")
            && text.contains("process_resident_memory_bytes")
    );
    let mut promtool = Command::new("promtool");
    promtool
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = promtool.spawn().expect("promtool starts");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    let judged = child.wait_with_output().expect("it ends");
    let words = String::from_utf8_lossy(&judged.stdout).into_owned()
        + &String::from_utf8_lossy(&judged.stderr);
    assert!(judged.status.success() && words.trim().is_empty(), "{words}");
}
