//! `lifeboat net test` says what is wrong on the way, in words that fit: against openssl, dnsmasq, proxies, portals and
//! Azurite, in a network namespace where their names and ports are Azure's.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

use core::time::Duration;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tests::azurite::certificates::Certificates;
use tests::azurite::connect_proxy::ConnectProxy;
use tests::azurite::{ACCOUNT, Azurite, KEY, Scratch, TlsFiles};
use tests::cli::{Ran, number, run};
use tests::lan::{Dnsmasq, inside, ip, until};
use tests::program::{Place, lifeboat};
use tests::tls_host::TlsHost;

/// Hosts of Azure that every vault needs.
const AZURE: [&str; 2] = ["login.microsoftonline.com", "management.azure.com"];
/// Longest that a step of these may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// openssl's own server on port 443 of an address.
fn host(address: &str, files: &TlsFiles) -> TlsHost {
    ip(&format!("addr replace {address}/32 dev lo"));
    TlsHost::start(&format!("{address}:443"), files)
}

/// Serves every connection at an address for as long as the test runs.
fn serve(address: &str, port: u16, answer: impl Fn(TcpStream) + Send + 'static) {
    ip(&format!("addr replace {address}/32 dev lo"));
    let listener = TcpListener::bind((address, port)).unwrap();
    std::thread::spawn(move || listener.incoming().flatten().for_each(answer));
}

/// Answers whatever comes first.
fn answering(text: &'static str) -> impl Fn(TcpStream) {
    move |mut stream| {
        // Whether the other end takes it is its own business.
        let _ = stream.read(&mut [0; 512]);
        let _ = stream.write_all(text.as_bytes());
    }
}

struct Bed {
    scratch: Scratch,
    certificates: Certificates,
}

impl Bed {
    fn page(&self, text: &str) -> PathBuf {
        let path = self.scratch.path().join("lifeboat.toml");
        std::fs::write(&path, format!("[network]\n{text}")).unwrap();
        path
    }

    /// Tests the way to hosts with this page.
    fn test(&self, page: &str, words: &[&str], hosts: &[&str]) -> Ran {
        let mut command = Command::new(lifeboat());
        command.args(["net", "test", "--json", "--patience", "2s", "--config"]);
        command.arg(self.page(page)).args(words).env_clear();
        command.env("LIFEBOAT_CA_FILE", self.certificates.ca());
        for host in hosts {
            command.args(["--host", host]);
        }
        run(&mut command)
    }
}

/// What was found of a host.
#[track_caller]
fn found<'a>(answer: &'a Value, host: &str) -> &'a Value {
    let hosts = answer["hosts"].as_array().unwrap();
    hosts.iter().find(|report| report["host"] == host).unwrap_or_else(|| panic!("{host}: {answer}"))
}

#[track_caller]
fn verdict(answer: &Value, host: &str, words: &str) {
    let report = found(answer, host);
    let told = report["verdict"].as_str().unwrap();
    assert!(told.contains(words), "{host}: «{words}» is not in «{told}»");
    let good = report["good"].as_bool().unwrap();
    assert_eq!(good, told.starts_with("good"), "{report}");
    assert!(good || report["remedy"].as_str().is_some_and(|remedy| remedy.len() > 20), "{report}");
}

/// Hosts, where DNS says that they are, and what is to be said of the way there.
const HOSTS: [(&str, &str, &str); 12] = [
    ("good.example", "10.90.0.1", "good, by a private address; days until its certificate ends: 1"),
    ("lasting.example", "10.90.0.9", "good, by a private address"),
    ("public.example", "20.60.0.1", "shows a certificate for «server»"),
    ("opened.example", "10.90.0.2", "signed by «Corp Inspection CA»"),
    ("expired.example", "10.90.0.3", "by this machine's clock"),
    ("other.example", "10.90.0.1", "shows a certificate for «server»"),
    ("hotel.example", "10.90.0.4", "a captive portal answers instead of hotel.example"),
    ("plain.example", "10.90.0.5", "does not speak TLS"),
    ("cut.example", "10.90.0.6", "is cut when TLS begins"),
    ("silent.example", "10.90.0.7", "falls silent when TLS begins"),
    ("closed.example", "10.90.0.8", "10.90.0.8 refuses the connection"),
    ("nowhere.example", "10.91.0.1", "nothing leads to 10.91.0.1"),
];
/// The page that asks the name server of the test.
const DNS: &str = "dns = [\"10.90.0.53\"]\n";

/// What answers at the hosts' addresses, each in its own way.
fn peers(certificates: &Certificates) -> Vec<TlsHost> {
    let another = |name: &str, stranger, days| certificates.another(name, stranger, days).unwrap();
    let right = certificates.server();
    let hotel = "HTTP/1.1 302 Found\r\nLocation: http://portal.hotel/in\r\n\r\n";
    serve("10.90.0.4", 80, answering(hotel));
    serve("10.90.0.5", 443, answering("HTTP/1.1 400 Bad Request\r\n\r\n"));
    serve("10.90.0.6", 443, |mut stream| drop(stream.read(&mut [0; 1])));
    serve("10.90.0.7", 443, |stream| {
        let silent = move || {
            std::thread::sleep(PATIENCE);
            drop(stream);
        };
        drop(std::thread::spawn(silent));
    });
    ip("addr add 10.90.0.8/32 dev lo");
    vec![
        host("10.90.0.1", &right),
        host("10.90.0.2", &another("opened.example", Some("Corp Inspection CA"), 2)),
        host("10.90.0.3", &another("expired.example", None, -1)),
        host("10.90.0.4", &another("hotel.example", Some("Hotel CA"), 2)),
        host("10.90.0.9", &another("lasting.example", None, 60)),
        host("127.0.0.1", &right),
        host("20.60.0.1", &right),
    ]
}

/// DNS for the hosts. The namespace has no other link than loopback.
fn name_server() -> Dnsmasq {
    ip("addr add 10.90.0.53/32 dev lo");
    let known = HOSTS.map(|(host, address, _)| format!("--address=/{host}/{address}"));
    let mut options: Vec<&str> = known.iter().map(String::as_str).collect();
    options.extend(["--listen-address=10.90.0.53", "--interface=lo", "--local=/example/"]);
    let server = Dnsmasq::start_on_loopback(&options);
    until("dnsmasq answers", PATIENCE, || TcpStream::connect("10.90.0.53:53").is_ok());
    server
}

#[test]
fn every_trouble_on_the_way_has_its_verdict() {
    if !inside("every_trouble_on_the_way_has_its_verdict") {
        return;
    }
    let certificates = Certificates::make(&["good.example"]).unwrap();
    let bed = Bed { scratch: Scratch::new("verdicts").unwrap(), certificates };
    let _peers = peers(&bed.certificates);
    let server = name_server();
    let mut all = HOSTS.map(|(host, ..)| host).to_vec();
    all.push("missing.example");
    let ran = bed.test(DNS, &[], &all);
    let answer = ran.json();
    for (host, address, words) in HOSTS {
        assert_eq!(found(&answer, host)["addresses"][0], address);
        verdict(&answer, host, words);
    }
    verdict(&answer, "missing.example", "there is no host missing.example");
    assert!(!found(&answer, "lasting.example")["verdict"].as_str().unwrap().contains("days"));
    ran.fails(1, &["11 of 13 hosts"]);
    let good = found(&answer, "good.example");
    let told = (good["issuer"].as_str(), good["link"].as_str());
    assert_eq!(told, (Some("lifeboat-tests"), Some("lo")));
    assert!((0..=2).contains(&good["days_left"].as_i64().unwrap()), "{good}");
    private_endpoints(&bed);
    proxies(&bed);
    drop(server);
    let answer = bed.test(DNS, &[], &["good.example"]).json();
    verdict(&answer, "good.example", "the address of good.example cannot be found");
}

/// A private endpoint is expected: an address of the Internet is wrong, whoever answers there.
fn private_endpoints(bed: &Bed) {
    let answer = bed.test(DNS, &["--private"], &["good.example", "public.example"]).json();
    verdict(&answer, "good.example", "good, by a private address");
    verdict(&answer, "public.example", "DNS gives the public address 20.60.0.1");
    let table = format!("{DNS}[network.hosts]\n\"public.example\" = [\"10.90.0.2\"]\n");
    let answer = bed.test(&table, &["--private"], &["public.example"]).json();
    let first = &found(&answer, "public.example")["addresses"][0];
    assert_eq!(first, "10.90.0.2", "the table counts first");
}

/// Proxies by destination: a good one, one that refuses, one that is not there, one that is none.
fn proxies(bed: &Bed) {
    let proxy = ConnectProxy::start("bGlmZTpiIGF0").unwrap();
    let authority = proxy.authority();
    let rule = |host: &str, through: &str| {
        format!("[[network.proxy]]\nfor = [\"{host}\"]\nthrough = \"http://{through}\"\n")
    };
    let page = [
        DNS,
        &rule("good.example", &format!("life:b%20at@{authority}")),
        &rule("other.example", &format!("life:wrong@{authority}")),
        &rule("cut.example", "10.90.0.8:3128"),
        &rule("plain.example", "10.90.0.1:443"),
    ]
    .concat();
    let asked =
        ["good.example", "other.example", "cut.example", "plain.example", "expired.example"];
    let answer = bed.test(&page, &[], &asked).json();
    verdict(&answer, "good.example", "good");
    assert_eq!(found(&answer, "good.example")["proxy"], authority);
    verdict(&answer, "other.example", "wants a name and password, or other ones");
    verdict(&answer, "cut.example", "10.90.0.8 refuses the connection");
    verdict(&answer, "plain.example", "10.90.0.1:443");
    assert!(found(&answer, "expired.example").get("proxy").is_none(), "no rule fits it");
    assert_eq!(proxy.targets(), ["good.example:443"]);
}

#[test]
fn a_good_way_has_a_speed() {
    if !inside("a_good_way_has_a_speed") {
        return;
    }
    let bed = Bed {
        scratch: Scratch::new("speed").unwrap(),
        certificates: Certificates::make(&AZURE).unwrap(),
    };
    let files = bed.certificates.server();
    let azurite = Azurite::start_https(&files).unwrap();
    let _hosts = host("10.90.0.1", &files);
    let ca = bed.certificates.ca().display().to_string();
    let environment =
        [("AZURE_STORAGE_KEY".to_owned(), KEY.to_owned()), ("LIFEBOAT_CA_FILE".to_owned(), ca)];
    let place = Place::create(azurite.vault("speed"), bed.scratch.path(), &environment);
    let page =
        bed.page(&AZURE.map(|host| format!("hosts.\"{host}\" = [\"10.90.0.1\"]\n")).concat());
    let mut command = place.bare();
    command.args(["net", "test", "--json", "--speed", "--vault", &place.vault, "--config"]);
    let ran = run(command.arg(page)).succeeds();
    let answer = ran.json();
    assert_eq!(answer["hosts"].as_array().unwrap().len(), 3);
    for host in ["127.0.0.1", AZURE[0], AZURE[1]] {
        verdict(&answer, host, "good");
    }
    let speed = &answer["speed"];
    // Loopback is no slower than a bad line.
    for way in ["upload_bytes_per_second", "download_bytes_per_second"] {
        assert!(number(speed, way) > 10_000, "{answer}");
    }
    assert_eq!(found(&answer, "127.0.0.1")["purpose"], "blob", "of {ACCOUNT}");
    // Nothing of it is left in the vault.
    let verified = run(place.verb("verify").arg("--deep")).succeeds();
    assert!(!verified.errors.contains("speed-test"), "{}", verified.errors);
}
