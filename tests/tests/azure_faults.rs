//! The Azure store through a proxy that makes requests fail, and before peers that lie: what can be saved is saved,
//! and the rest ends in one clear line.

use core::time::Duration;
use std::time::Instant;

use pipeline_azure::governor::FlowOptions;
use pipeline_azure::retry::RetryPolicy;
use pipeline_azure::transport::TransportOptions;
use pipeline_azure::{AzureAddress, AzureOptions, AzureStore, Credentials, Secret};
use pipeline_vault::store::{BlobStore as _, Created};
use pipeline_vault::{Blame, Error, Retry};

use tests::azurite::server::{Answers, Server, answer};
use tests::azurite::{ACCOUNT, Azurite, KEY, free_port};
use tests::fault_proxy::{Action, FOREVER, FaultProxy, Rule};

/// Patient enough for the faults here, and quick to give up on the rest.
fn options() -> AzureOptions {
    let retry = RetryPolicy {
        attempts_max: 5,
        total: Duration::from_secs(20),
        first_wait: Duration::from_millis(20),
        wait_max: Duration::from_millis(200),
    };
    let transport = TransportOptions {
        connect: Duration::from_secs(2),
        idle: Duration::from_secs(3),
        answer: Duration::from_secs(3),
        ..TransportOptions::default()
    };
    AzureOptions { retry, transport, ..AzureOptions::default() }
}

fn store_at(authority: &str, container: &str, options: AzureOptions) -> AzureStore {
    let uri = format!("azure://{ACCOUNT}/{container}?endpoint=http://{authority}/{ACCOUNT}");
    let address = AzureAddress::parse(&uri).expect("an address");
    let key = Credentials::shared_key(ACCOUNT, &Secret::new(KEY)).expect("the well-known key");
    AzureStore::open(&address, key, options).expect("a store")
}

/// Azurite, the proxy before it, and a prepared store behind the proxy.
fn bed(options: AzureOptions) -> (Azurite, FaultProxy, AzureStore) {
    let azurite = Azurite::start().expect("Azurite starts");
    let proxy = FaultProxy::start(azurite.port()).expect("a proxy");
    let store = store_at(&proxy.authority(), "faults", options);
    store.prepare().expect("a container");
    (azurite, proxy, store)
}

fn body(length: usize, seed: u8) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn passing_faults_are_survived_by_every_call() {
    let (_azurite, proxy, store) = bed(options());
    let passing = [
        Action::busy(503, "ServerBusy", 1),
        Action::status(503, "ServerBusy"),
        Action::status(500, "InternalError"),
        Action::status(500, "OperationTimedOut"),
        Action::status(502, ""),
        Action::status(504, ""),
        Action::status(408, "RequestTimeout"),
        Action::busy(429, "TooManyRequests", 1),
        Action::status(409, "ContainerBeingDeleted"),
        Action::Reset,
        Action::Delay(Duration::from_millis(300)),
    ];
    for (number, action) in passing.into_iter().enumerate() {
        let name = format!("object-{number}");
        let bytes = body(100_000, 1);
        let twice = |method: &str| vec![Rule::new(method, "", 2, action.clone())];
        proxy.set_rules(twice("PUT"));
        assert_eq!(store.create(&name, &bytes), Ok(Created::New), "{action:?}");
        proxy.set_rules(twice("GET"));
        assert!(store.read_all(&name, 100_000) == Ok(bytes.clone()), "{action:?}");
        proxy.set_rules(twice("GET"));
        let mut part = vec![0; 1000];
        store.read(&name, 50_000, &mut part).unwrap_or_else(|error| panic!("{action:?}: {error}"));
        assert!(part == bytes[50_000..51_000], "{action:?}");
        proxy.set_rules(twice("HEAD"));
        assert!(store.facts(&name).unwrap().is_some(), "{action:?}");
        proxy.set_rules(twice("HEAD"));
        assert!(store.now().is_ok(), "{action:?}");
        proxy.set_rules(twice("GET"));
        assert_eq!(store.list(&name, None, 10).unwrap().objects.len(), 1, "{action:?}");
        proxy.set_rules(twice("DELETE"));
        assert_eq!(store.delete(core::slice::from_ref(&name)), [Ok(true)], "{action:?}");
        let tries = if matches!(action, Action::Delay(_)) { 1 } else { 3 };
        assert_eq!(proxy.seen().len(), tries, "{action:?}: who is only late is not asked again");
    }
}

#[test]
fn a_lost_reply_is_not_a_conflict() {
    let (_azurite, proxy, store) = bed(options());
    let bytes = body(300_000, 2);
    proxy.set_rules(vec![Rule::new("PUT", "/lost", 1, Action::DropReply)]);
    assert_eq!(store.create("lost", &bytes), Ok(Created::Same), "the first try was carried out");
    assert_eq!(proxy.count("drop_reply"), 1);
    assert!(store.read_all("lost", 300_000) == Ok(bytes.clone()));
    let mut other = bytes.clone();
    other[299_999] ^= 1;
    assert_eq!(store.create("lost", &other), Ok(Created::Taken));
    proxy.set_rules(vec![Rule::new("DELETE", "/lost", 1, Action::DropReply)]);
    assert_eq!(store.delete(&["lost".to_owned()]), [Ok(true)], "it existed, and our delete did it");
}

#[test]
fn a_lost_reply_of_a_batch_is_not_a_failure() {
    let (_azurite, proxy, store) = bed(options());
    let names: Vec<String> = (0..5).map(|number| format!("b/{number}")).collect();
    names.iter().for_each(|name| assert_eq!(store.create(name, b"x"), Ok(Created::New)));
    proxy.set_rules(vec![Rule::new("POST", "comp=batch", 1, Action::DropReply)]);
    assert_eq!(store.delete(&names), vec![Ok(true); 5]);
    assert_eq!(proxy.seen().iter().filter(|seen| seen.method == "DELETE").count(), 0);
}

#[test]
fn a_cut_body_is_continued_where_it_stopped() {
    let (_azurite, proxy, store) = bed(options());
    let bytes = body(3_000_000, 3);
    assert_eq!(store.create("cut", &bytes), Ok(Created::New));
    for _ in 0..2 {
        // More cuts than tries: each one brings something, so patience begins anew.
        proxy.set_rules(vec![Rule::new("GET", "/cut", 12, Action::Cut { after: 200_000 })]);
        assert!(store.read_all("cut", 3_000_000) == Ok(bytes.clone()));
        assert_eq!(proxy.count("cut"), 12);
    }
    proxy.set_rules(vec![Rule::new("GET", "/cut", 12, Action::Cut { after: 200_000 })]);
    let mut part = vec![0; 2_900_000];
    store.read("cut", 50_000, &mut part).unwrap();
    assert!(part == bytes[50_000..2_950_000]);
    assert_eq!(proxy.count("cut"), 12);
    assert_eq!(proxy.seen().len(), 13, "nothing was asked for twice");
}

#[test]
fn large_bodies_go_up_in_blocks_and_survive_faults() {
    let mut blocks = options();
    blocks.single_put_bytes_max = 1_000_000;
    blocks.block_bytes = 300_000;
    let (_azurite, proxy, store) = bed(blocks);
    let bytes = body(1_000_001, 4);
    proxy.set_rules(vec![
        Rule::new("PUT", "comp=block&", 1, Action::status(503, "ServerBusy")),
        Rule::new("PUT", "comp=block&", 1, Action::DropReply),
        Rule::new("PUT", "comp=blocklist", 1, Action::status(500, "InternalError")),
    ]);
    assert_eq!(store.create("blocks", &bytes), Ok(Created::New));
    let puts = proxy.seen().iter().filter(|seen| seen.target.contains("comp=block&")).count();
    assert_eq!(puts, 6, "four blocks, two of them twice");
    assert!(store.read_all("blocks", 2_000_000) == Ok(bytes.clone()));
    assert_eq!(store.create("blocks", &bytes), Ok(Created::Same));
    assert_eq!(store.create("blocks", &body(1_000_001, 5)), Ok(Created::Taken));
    proxy.set_rules(vec![Rule::new("PUT", "comp=blocklist", 1, Action::DropReply)]);
    assert_eq!(store.create("blocks-2", &bytes), Ok(Created::Same), "the list was committed");
}

#[test]
fn rivals_that_upload_in_blocks_do_not_mix() {
    let mut blocks = options();
    blocks.single_put_bytes_max = 100_000;
    blocks.block_bytes = 50_000;
    let (_azurite, _proxy, store) = bed(blocks);
    for round in 0..4 {
        let name = format!("rivals-{round}");
        let made: Vec<Created> = std::thread::scope(|scope| {
            let rivals: Vec<_> = (0..4_u8)
                .map(|rival| {
                    let (store, name) = (&store, &name);
                    scope.spawn(move || store.create(name, &body(400_000, rival)).unwrap())
                })
                .collect();
            rivals.into_iter().map(|rival| rival.join().unwrap()).collect()
        });
        assert_eq!(made.iter().filter(|made| **made == Created::New).count(), 1, "{made:?}");
        let kept = store.read_all(&name, 400_000).unwrap();
        let winner = made.iter().position(|made| *made == Created::New).unwrap();
        assert!(
            kept == body(400_000, u8::try_from(winner).unwrap()),
            "the winner's bytes are kept"
        );
    }
}

#[test]
fn a_peer_that_stays_down_ends_in_one_line_that_says_so() {
    let (_azurite, proxy, store) = bed(options());
    proxy.set_rules(vec![Rule::new("", "", FOREVER, Action::status(503, "ServerBusy"))]);
    let error = store.create("never", b"x").unwrap_err();
    assert_eq!((error.blame, error.retry), (Blame::Device, Retry::Later));
    says(&error, &["azure://devstoreaccount1/faults/never", "503 ServerBusy", "tried 5 times"]);
    proxy.set_rules(vec![Rule::new("", "", FOREVER, Action::Reset)]);
    let error = store.read_all("never", 10).unwrap_err();
    says(&error, &["broke", "tried 5 times"]);
    proxy.set_rules(vec![Rule::new("", "", FOREVER, Action::Delay(Duration::from_secs(5)))]);
    let mut hurried = options();
    hurried.retry.attempts_max = 2;
    hurried.transport.answer = Duration::from_millis(300);
    let slow = store_at(&proxy.authority(), "faults", hurried);
    let started = Instant::now();
    says(&slow.facts("never").unwrap_err(), &["fell silent", "tried 2 times"]);
    assert!(started.elapsed() < Duration::from_secs(4), "the wait is bounded");
}

#[test]
fn retry_after_is_waited_for() {
    let (_azurite, proxy, store) = bed(options());
    proxy.set_rules(vec![Rule::new("PUT", "", 1, Action::busy(503, "ServerBusy", 2))]);
    let started = Instant::now();
    assert_eq!(store.create("patient", b"x"), Ok(Created::New));
    assert!(started.elapsed() >= Duration::from_secs(2), "{:?}", started.elapsed());
    proxy.set_rules(vec![Rule::new("PUT", "", FOREVER, Action::busy(503, "ServerBusy", 3600))]);
    let started = Instant::now();
    assert!(store.create("impatient", b"x").is_err());
    assert!(started.elapsed() < Duration::from_secs(2), "an hour is more than the policy has");
}

#[test]
fn fewer_requests_are_in_flight_after_refusals_for_load() {
    let mut flow = options();
    flow.flow = FlowOptions { start: 16, least: 2, most: 32 };
    let (_azurite, proxy, store) = bed(flow);
    assert_eq!(store.parallel(), 16);
    proxy.set_rules(vec![Rule::new("PUT", "", 1, Action::status(503, "ServerBusy"))]);
    assert_eq!(store.create("load", b"x"), Ok(Created::New));
    assert_eq!(store.parallel(), 8);
}

#[test]
fn a_wrong_key_is_told_from_a_missing_container() {
    let azurite = Azurite::start().expect("Azurite starts");
    let address = AzureAddress::parse(&azurite.vault("absent")).unwrap();
    let wrong = Secret::new("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    let credentials = Credentials::shared_key(ACCOUNT, &wrong).unwrap();
    let store = AzureStore::open(&address, credentials, options()).unwrap();
    let error = store.read_all("vault", 100).unwrap_err();
    assert_eq!(error.blame, Blame::Refused);
    says(&error, &["refuses the account key", "AZURE_STORAGE_KEY", "key1 or key2"]);
    assert!(!error.to_string().contains("AAECAwQF"), "{error}");
    let store = store_at(&azurite.authority(), "absent", options());
    for error in [
        store.read_all("vault", 100).unwrap_err(),
        store.facts("vault").unwrap_err(),
        store.list("", None, 10).unwrap_err(),
        store.create("x", b"").unwrap_err(),
        store.delete(&["x".to_owned()]).remove(0).unwrap_err(),
    ] {
        assert_eq!(error.blame, Blame::Misuse, "{error}");
        says(&error, &["container «absent»", "does not exist", "lifeboat vault create"]);
        assert!(!error.is_missing(), "a missing container is not a missing object");
    }
}

#[test]
fn a_container_with_other_content_is_refused() {
    let azurite = Azurite::start().expect("Azurite starts");
    let store = store_at(&azurite.authority(), "holiday", options());
    store.prepare().unwrap();
    store.create("photo.jpg", b"x").unwrap();
    let error = store.prepare().unwrap_err();
    assert_eq!(error.blame, Blame::Misuse);
    says(&error, &["is no vault and not empty", "photo.jpg"]);
    store.create("vault", b"marker").unwrap();
    assert_eq!(store.prepare(), Ok(()), "a vault may hold anything");
}

#[test]
fn nobody_at_the_endpoint_is_said_plainly() {
    let authority = format!("127.0.0.1:{}", free_port().unwrap());
    let store = store_at(&authority, "faults", options());
    let error = store.read_all("vault", 100).unwrap_err();
    assert_eq!((error.blame, error.retry), (Blame::Device, Retry::Later));
    says(&error, &[&authority, "refuses the connection", "firewall"]);
}

#[test]
fn connections_are_kept_from_request_to_request() {
    let (_azurite, proxy, store) = bed(options());
    let bytes = body(200_000, 9);
    let before = proxy.connections();
    for number in 0..20 {
        let name = format!("kept-{number}");
        assert_eq!(store.create(&name, &bytes), Ok(Created::New));
        store.read(&name, 100, &mut [0; 5000]).unwrap();
        store.read_all(&name, 200_000).unwrap();
        assert!(store.facts(&name).unwrap().is_some());
        store.list("kept", None, 5).unwrap();
    }
    let made = proxy.connections() - before;
    assert!(made <= 3, "{made} connections for 100 requests in a row");
}

/// A store before a server that answers everything with the same bytes.
fn liar(reply: Vec<u8>) -> (Server, AzureStore) {
    let server = Server::start(Answers(move |_: &_| reply.clone())).expect("a server");
    let store = store_at(&server.address().to_string(), "faults", options());
    (server, store)
}

const FROM_STORAGE: (&str, &str) = ("x-ms-request-id", "liar");

#[test]
fn a_login_page_is_recognised() {
    let page = b"<html><body>Please log in to the hotel's network</body></html>";
    for status in [200, 302, 403, 511] {
        let headers = [("Content-Type", "text/html"), ("Location", "http://login.example/")];
        let (_server, store) = liar(answer(status, &headers, page));
        let errors = [
            store.read_all("vault", 100).unwrap_err(),
            store.read("vault", 0, &mut [0; 10]).unwrap_err(),
            store.create("x", b"y").unwrap_err(),
            store.list("", None, 10).unwrap_err(),
            store.facts("x").unwrap_err(),
            store.now().unwrap_err(),
            store.prepare().unwrap_err(),
            store.delete(&["x".to_owned()]).remove(0).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.blame, Blame::Refused, "HTTP {status}: {error}");
            says(&error, &["what stands between this machine and it"]);
        }
    }
}

#[test]
fn an_endpoint_that_stores_other_bytes_is_caught() {
    let crc = ("x-ms-content-crc64", "AAAAAAAAAAA=");
    let (_server, store) = liar(answer(201, &[FROM_STORAGE, crc], b""));
    let error = store.create("x", b"not what arrived").unwrap_err();
    says(&error, &["stored other bytes than were sent"]);
}

#[test]
fn wrong_lengths_and_ranges_are_caught() {
    let short = {
        let mut bytes = answer(200, &[FROM_STORAGE], &[7; 100]);
        bytes.truncate(bytes.len() - 40);
        bytes
    };
    // The connection stays open and silent after sixty of a hundred bytes.
    let (_server, store) = liar(short);
    says(&store.read_all("x", 1000).unwrap_err(), &["something else", "tried 3 times"]);
    let range = ("Content-Range", "bytes 5-14/100");
    let (_server, store) = liar(answer(206, &[FROM_STORAGE, range], &[7; 10]));
    says(&store.read("x", 0, &mut [0; 10]).unwrap_err(), &["another part"]);
    let range = ("Content-Range", "bytes 0-99/100");
    let (_server, store) = liar(answer(206, &[FROM_STORAGE, range], &[7; 100]));
    says(&store.read("x", 0, &mut [0; 10]).unwrap_err(), &["another part"]);
    let huge =
        b"HTTP/1.1 200 OK\r\nx-ms-request-id: 1\r\nContent-Length: 99999999999\r\n\r\nx".to_vec();
    let (_server, store) = liar(huge);
    let error = store.read_all("x", 1000).unwrap_err();
    assert_eq!(error.blame, Blame::Corrupt);
    says(&error, &["99999999999 bytes", "at most 1000"]);
    let (_server, store) = liar(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec());
    says(&store.read_all("x", 1000).unwrap_err(), &["not HTTP"]);
    let endless = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-Header: more\r\n".repeat(10_000)].concat();
    let (_server, store) = liar(endless);
    assert!(store.read_all("x", 1000).is_err());
}

#[test]
fn listings_that_cannot_be_are_caught() {
    let page = |inner: &str| {
        let xml =
            format!("<?xml version=\"1.0\"?><EnumerationResults>{inner}</EnumerationResults>");
        answer(200, &[FROM_STORAGE], xml.as_bytes())
    };
    let blob = |name: &str| {
        format!(
            "<Blob><Name>{name}</Name><Properties><Content-Length>1</Content-Length>\
             <Last-Modified>Sun, 22 Nov 2026 12:44:35 GMT</Last-Modified></Properties></Blob>"
        )
    };
    let blobs = |names: &[&str]| {
        format!("<Blobs>{}</Blobs>", names.iter().map(|name| blob(name)).collect::<String>())
    };
    for (inner, reason) in [
        (blobs(&["a", "a"]), "not what was asked for"),
        (blobs(&["b", "a"]), "not what was asked for"),
        (blobs(&["other"]), "not what was asked for"),
        ("<a>".repeat(100), "nested too deep"),
        ("<Blobs><Blob><Name>a</Name></Blob></Blobs>".to_owned(), "no length"),
        ("<Blobs><Blob>&lol;".to_owned(), "unknown entity"),
    ] {
        let (_server, store) = liar(page(&inner));
        let prefix = if inner.contains("other") { "mine" } else { "" };
        says(&store.list(prefix, None, 10).unwrap_err(), &["listing", reason]);
    }
    let endless = "<EnumerationResults>".to_owned() + &"<x></x>".repeat(6_000_000);
    let (_server, store) = liar(answer(200, &[FROM_STORAGE], endless.as_bytes()));
    says(&store.list("", None, 10).unwrap_err(), &["longer than"]);
}

fn says(error: &Error, words: &[&str]) {
    let line = error.to_string();
    assert!(!line.contains('\n'), "one line: {line}");
    for word in words {
        assert!(line.contains(word), "«{word}» is missing in: {line}");
    }
}
