//! Identities, tokens, proxies and certificates in their bad moments: each ends well or in one clear line.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use core::net::IpAddr;
use core::time::Duration;

use pipeline_azure::date::iso_date;
use pipeline_azure::request::blob::AccessTier;
use pipeline_azure::request::lease::LeaseTerm;
use pipeline_azure::retry::RetryPolicy;
use pipeline_azure::sas::make::{Resource, Terms, service};
use pipeline_azure::sign::SharedKey;
use pipeline_azure::transport::TransportOptions;
use pipeline_azure::transport::proxy::ProxyChoice;
use pipeline_azure::{AzureAddress, AzureOptions, AzureStore, Credentials, Secret};
use pipeline_vault::store::{BlobStore as _, Created, Tier};
use pipeline_vault::{Blame, Error};

use tests::azurite::certificates::Certificates;
use tests::azurite::connect_proxy::ConnectProxy;
use tests::azurite::identity::{CLIENT, CLIENT_SECRET, IdentityService, TENANT};
use tests::azurite::{ACCOUNT, Azurite, KEY, free_port};

/// Azurite over HTTPS, who gives tokens for it, and how to reach both.
struct Bed {
    azurite: Azurite,
    identities: IdentityService,
    certificates: Arc<Certificates>,
}

const HOST: &str = "devstoreaccount1.blob.lifeboat.test";

impl Bed {
    fn new() -> Self {
        let certificates = Arc::new(Certificates::make(&[HOST]).expect("certificates"));
        let azurite = Azurite::start_https(&certificates.server()).expect("Azurite starts");
        let identities = IdentityService::start(&certificates).expect("a service");
        Self { azurite, identities, certificates }
    }

    fn options(&self) -> AzureOptions {
        let mut options = quick();
        options.transport.ca_files = vec![self.certificates.ca()];
        options
    }

    fn address(&self, container: &str) -> AzureAddress {
        AzureAddress::parse(&self.azurite.vault(container)).expect("an address")
    }

    fn identity(&self, set: &[(&str, &str)]) -> Credentials {
        let url = self.identities.url();
        let usual = [
            ("AZURE_TENANT_ID", TENANT),
            ("AZURE_CLIENT_ID", CLIENT),
            ("AZURE_AUTHORITY_HOST", url.as_str()),
        ];
        let lookup = |name: &str| {
            let found = set.iter().chain(&usual).find(|(has, _)| *has == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Credentials::from_lookup(&self.address("any"), &lookup).expect("credentials").0
    }

    fn by_secret(&self) -> Credentials {
        self.identity(&[("AZURE_CLIENT_SECRET", CLIENT_SECRET)])
    }

    fn store(&self, credentials: Credentials, container: &str) -> AzureStore {
        AzureStore::open(&self.address(container), credentials, self.options()).expect("a store")
    }
}

/// Quick to give up, and never through a proxy that the environment names.
fn quick() -> AzureOptions {
    let retry = RetryPolicy {
        attempts_max: 3,
        total: Duration::from_secs(10),
        first_wait: Duration::from_millis(10),
        wait_max: Duration::from_millis(50),
    };
    let transport = TransportOptions {
        proxy: ProxyChoice::Never,
        connect: Duration::from_secs(5),
        ..TransportOptions::default()
    };
    AzureOptions { retry, transport, ..AzureOptions::default() }
}

fn says(error: &Error, words: &[&str]) {
    let line = error.to_string();
    assert!(!line.contains('\n'), "one line: {line}");
    for word in words {
        assert!(line.contains(word), "«{word}» is missing in: {line}");
    }
}

#[test]
fn tokens_are_kept_and_replaced_when_they_end_midway() {
    let bed = Bed::new();
    let store = bed.store(bed.by_secret(), "tokens");
    store.prepare().expect("a container");
    (0..5).for_each(|n| assert_eq!(store.create(&format!("a/{n}"), b"x"), Ok(Created::New)));
    assert_eq!(bed.identities.given(), 1, "one token for all");
    // A token that ends a second from now, although it was given for an hour.
    bed.identities.set_life(3600, 1);
    let store = bed.store(bed.by_secret(), "tokens");
    assert!(store.facts("a/0").expect("facts").is_some());
    std::thread::sleep(Duration::from_millis(2500));
    bed.identities.set_life(3600, 3600);
    assert_eq!(store.create("midway", b"x"), Ok(Created::New), "with a fresh token");
    assert_eq!(bed.identities.given(), 3);
    // One that says itself that it has hardly any life left is not used twice.
    bed.identities.set_life(1, 3600);
    let store = bed.store(bed.by_secret(), "tokens");
    assert!(store.facts("a/0").is_ok() && store.facts("a/1").is_ok());
    assert_eq!(bed.identities.given(), 5);
}

#[test]
fn wrong_proofs_end_in_one_line_without_them() {
    let bed = Bed::new();
    for (name, value, words) in [
        ("AZURE_CLIENT_SECRET", "wrong-secret", ["its secret is wrong", "AZURE_CLIENT_SECRET"]),
        ("AZURE_CLIENT_ID", "nobody", ["is not known in this tenant", "AZURE_CLIENT_ID"]),
        ("AZURE_TENANT_ID", "nowhere", ["its tenant does not exist", "AZURE_TENANT_ID"]),
    ] {
        let credentials = bed.identity(&[(name, value), ("AZURE_CLIENT_SECRET", CLIENT_SECRET)]);
        let error = bed.store(credentials, "any").read_all("vault", 10).expect_err(name);
        assert_eq!(error.blame, Blame::Refused);
        says(&error, &words);
        assert!(!error.to_string().contains("wrong-secret"), "{error}");
    }
    let other = Certificates::make(&[]).expect("certificates");
    let path = other.client().display().to_string();
    let credentials = bed.identity(&[("AZURE_CLIENT_CERTIFICATE_PATH", &path)]);
    let error = bed.store(credentials, "any").read_all("vault", 10).expect_err("another key");
    says(&error, &["its certificate is not registered with it"]);
    let gone = format!("http://127.0.0.1:{}", free_port().expect("a port"));
    let set = [("AZURE_AUTHORITY_HOST", gone.as_str()), ("AZURE_CLIENT_SECRET", CLIENT_SECRET)];
    let error = bed.store(bed.identity(&set), "any").read_all("vault", 10).expect_err("nobody");
    says(&error, &["identity «22222222", "refuses the connection"]);
}

#[test]
fn certificates_and_names_are_checked() {
    let bed = Bed::new();
    let key = || Credentials::shared_key(ACCOUNT, &Secret::new(KEY)).expect("a key");
    let open = |address: &AzureAddress, options: AzureOptions| {
        AzureStore::open(address, key(), options).expect("a store")
    };
    let error = open(&bed.address("tls"), quick()).read_all("vault", 10).expect_err("unknown CA");
    assert_eq!(error.blame, Blame::Refused);
    says(&error, &["certificate of 127.0.0.1", "signed by nobody", "LIFEBOAT_CA_FILE"]);
    // The account in the host's name, which a table leads to loopback, as for a private endpoint.
    let named = |host: &str| {
        let port = bed.azurite.port();
        let uri = format!("azure://{ACCOUNT}/tls?endpoint=https://{host}:{port}");
        AzureAddress::parse(&uri).expect("an address")
    };
    let loopback: IpAddr = [127, 0, 0, 1].into();
    let mut options = bed.options();
    options.transport.names.table = vec![
        (HOST.to_owned(), loopback),
        ("devstoreaccount1.blob.elsewhere.test".to_owned(), loopback),
    ];
    let store = open(&named(HOST), options.clone());
    store.prepare().expect("a container");
    assert_eq!(store.create("x", b"y"), Ok(Created::New));
    let elsewhere = named("devstoreaccount1.blob.elsewhere.test");
    let error = open(&elsewhere, options.clone()).read_all("x", 10).expect_err("another name");
    says(&error, &["is for another name"]);
    let uri = format!("azure://{ACCOUNT}/tls?endpoint=https://{}/{ACCOUNT}", plain_port());
    let plain = AzureAddress::parse(&uri).expect("an address");
    let error = open(&plain, options).read_all("x", 10).expect_err("no TLS there");
    says(&error, &["does not speak TLS"]);
}

/// A server that answers plain HTTP, as a wrong port would.
fn plain_port() -> String {
    use tests::azurite::server::{Handler, Server};
    struct Plain;
    impl Handler for Plain {
        fn serve(&self, mut stream: std::net::TcpStream) -> std::io::Result<()> {
            std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n")
        }
    }
    let server = Box::leak(Box::new(Server::start(Plain).expect("a server")));
    server.address().to_string()
}

#[test]
fn a_proxy_s_refusals_are_told_from_azure_s() {
    let bed = Bed::new();
    let proxy = ConnectProxy::start("bGlmZTpib2F0").expect("a proxy");
    let store = |url: &str| {
        let mut options = bed.options();
        options.transport.proxy = ProxyChoice::explicit(url).expect("a proxy");
        let key = Credentials::shared_key(ACCOUNT, &Secret::new(KEY)).expect("a key");
        AzureStore::open(&bed.address("proxied"), key, options).expect("a store")
    };
    let right = store(&format!("http://life:boat@{}", proxy.authority()));
    right.prepare().expect("through the proxy");
    assert_eq!(right.create("x", b"y"), Ok(Created::New));
    for url in [
        format!("http://{}", proxy.authority()),
        format!("http://life:hunter2@{}", proxy.authority()),
    ] {
        let error = store(&url).read_all("x", 10).expect_err("no password");
        assert_eq!(error.blame, Blame::Refused);
        says(&error, &["the proxy", &proxy.authority(), "407", "HTTPS_PROXY"]);
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let gone = format!("127.0.0.1:{}", free_port().expect("a port"));
    let error = store(&format!("http://{gone}")).read_all("x", 10).expect_err("no proxy");
    says(&error, &[&gone, "refuses the connection"]);
}

#[test]
fn signatures_that_allow_too_little_or_ended_say_so() {
    let azurite = Azurite::start().expect("Azurite starts");
    let address = AzureAddress::parse(&azurite.vault("signed")).expect("an address");
    let key = Credentials::shared_key(ACCOUNT, &Secret::new(KEY)).expect("a key");
    let owner = AzureStore::open(&address, key, quick()).expect("a store");
    owner.prepare().expect("a container");
    owner.create("there", b"1").expect("an object");
    let signer = SharedKey::new(ACCOUNT, &Secret::new(KEY)).expect("a key");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let now = u64::try_from(now).expect("before the end of time");
    let signed = |permissions: &str, until: u64| {
        let terms = Terms {
            permissions: permissions.to_owned(),
            expiry: iso_date(until),
            version: "2024-11-04".to_owned(),
            ..Terms::default()
        };
        let token = service(&signer, &terms, Resource::Container { container: "signed" });
        let sas = Credentials::Sas(token.expect("a token"));
        AzureStore::open(&address, sas, quick()).expect("a store")
    };
    let hour = 3_600_000;
    // May create and read and list, as the identity of every day's work: no more is needed.
    let daily = signed("rcl", now + hour);
    daily.create("vault", b"marker").expect("an object");
    assert_eq!(daily.prepare(), Ok(()));
    assert_eq!(daily.create("daily", b"x"), Ok(Created::New));
    assert_eq!(daily.create("daily", b"x"), Ok(Created::Same));
    assert_eq!(daily.create("there", b"2"), Ok(Created::Taken));
    assert_eq!(daily.list("", None, 10).expect("a page").objects.len(), 3);
    assert!(daily.now().is_ok());
    for error in daily.delete(&["daily".to_owned(), "there".to_owned()]) {
        let error = error.expect_err("may not delete");
        assert_eq!(error.blame, Blame::Refused);
        says(&error, &["azure://devstoreaccount1/signed/", "may not delete", "permission «d»"]);
    }
    assert_eq!(owner.list("", None, 10).expect("a page").objects.len(), 3, "nothing was deleted");
    let ended = signed("rcl", now - hour).read_all("there", 10).expect_err("ended");
    assert_eq!(ended.blame, Blame::Refused);
    says(&ended, &["the shared access signature ended at 20", "AZURE_STORAGE_SAS_TOKEN"]);
}

/// Every line that anybody logs, at every level that is compiled in.
struct Lines(std::sync::Mutex<String>);

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {}\n", record.target(), record.args());
        self.0.lock().expect("no test panics while logging").push_str(&line);
    }

    fn flush(&self) {}
}

static LINES: Lines = Lines(std::sync::Mutex::new(String::new()));

#[test]
fn no_secret_is_logged_at_any_level() {
    log::set_logger(&LINES).expect("the only logger of this test");
    log::set_max_level(log::LevelFilter::Trace);
    let bed = Bed::new();
    let signer = SharedKey::new(ACCOUNT, &Secret::new(KEY)).expect("a key");
    let terms = Terms {
        permissions: "rcl".to_owned(),
        expiry: "2099-01-01T00:00:00Z".to_owned(),
        version: "2024-11-04".to_owned(),
        ..Terms::default()
    };
    let token = service(&signer, &terms, Resource::Container { container: "logged" });
    let token = token.expect("a token");
    let query = token.query().expose().to_owned();
    let signature = query.split("sig=").nth(1).expect("a signature").to_owned();
    let proxy = ConnectProxy::start("bGlmZTpib2F0").expect("a proxy");
    let key = Credentials::shared_key(ACCOUNT, &Secret::new(KEY)).expect("a key");
    for credentials in [key, bed.by_secret(), Credentials::Sas(token)] {
        let mut options = bed.options();
        let url = format!("http://life:boat@{}", proxy.authority());
        options.transport.proxy = ProxyChoice::explicit(&url).expect("a proxy");
        let address = bed.address("logged");
        let store = AzureStore::open(&address, credentials, options).expect("a store");
        let outcome = store.prepare().and_then(|()| store.create("vault", b"x").map(drop));
        outcome.expect("it works");
        let missing = store.read_all("missing", 10).expect_err("missing");
        log::error!("{missing} {store:?}");
    }
    let logged = LINES.0.lock().expect("no test panics while logging").clone();
    assert!(logged.lines().count() > 20, "something was logged: {logged}");
    for secret in
        [KEY, &signature, CLIENT_SECRET, "Bearer", "SharedKey dev", "bGlmZTpib2F0", "boat@"]
    {
        assert!(!logged.contains(secret), "«{secret}» is in the log:\n{logged}");
    }
}

#[test]
fn leases_and_tiers_do_what_azure_does() {
    let azurite = Azurite::start().expect("Azurite starts");
    let address = AzureAddress::parse(&azurite.vault("managed")).expect("an address");
    let key = Credentials::shared_key(ACCOUNT, &Secret::new(KEY)).expect("a key");
    let store = AzureStore::open(&address, key, quick()).expect("a store");
    store.prepare().expect("a container");
    store.create("leased", b"x").expect("an object");
    let lease = store.acquire_lease("leased", LeaseTerm::Seconds(60)).expect("a lease");
    let error = store.acquire_lease("leased", LeaseTerm::Endless).expect_err("taken");
    says(&error, &["leased: is leased by somebody else"]);
    assert_eq!(store.create("leased", b"x"), Ok(Created::Same), "a lease hides nothing");
    let error = store.delete(&["leased".to_owned()]).remove(0).expect_err("leased");
    says(&error, &["is leased by somebody else"]);
    store.renew_lease("leased", lease).expect("renewed");
    store.release_lease("leased", lease).expect("released");
    assert!(store.renew_lease("leased", lease).is_err());
    store.acquire_lease("leased", LeaseTerm::Endless).expect("a lease");
    store.break_lease("leased", 0).expect("broken");
    assert_eq!(store.delete(&["leased".to_owned()]), [Ok(true)]);
    store.create("cold", b"frozen").expect("an object");
    store.set_tier("cold", AccessTier::Archive).expect("archived");
    assert_eq!(store.facts("cold").expect("facts").expect("there").tier, Tier::Archive);
    assert_eq!(store.list("cold", None, 1).expect("a page").objects[0].tier, Tier::Archive);
    says(&store.read_all("cold", 10).expect_err("archived"), &["archive tier", "15 hours"]);
    says(&store.create("cold", b"frozen").expect_err("cannot compare"), &["cannot be compared"]);
    assert_eq!(store.create("cold", b"other length"), Ok(Created::Taken));
    store.set_tier("cold", AccessTier::Hot).expect("back");
    assert_eq!(store.read_all("cold", 10), Ok(b"frozen".to_vec()));
    let mut cool = quick();
    cool.tier = Some(AccessTier::Cool);
    let key = Credentials::shared_key(ACCOUNT, &Secret::new(KEY)).expect("a key");
    let store = AzureStore::open(&address, key, cool).expect("a store");
    assert_eq!(store.create("cool", b"x"), Ok(Created::New));
}
