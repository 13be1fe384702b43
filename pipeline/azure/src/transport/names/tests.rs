//! Names that need no DNS, and those that do, against a small DNS server on loopback.

use std::net::UdpSocket;
use std::sync::Arc;

use core::sync::atomic::{AtomicU32, Ordering};

use super::super::dns::tests::{Plan, Served, serve};
use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn offline() -> NameOptions {
    NameOptions {
        hosts_file: None,
        resolv_conf: PathBuf::from("/nonexistent"),
        servers: vec![SocketAddr::from(([127, 0, 0, 1], 9))],
        ..NameOptions::default()
    }
}

#[test]
fn literals_and_localhost_need_no_server() {
    let names = Names::new(offline());
    let found = |host: &str| names.addresses(host, PATIENCE).expect(host);
    assert_eq!(found("10.1.2.3"), [IpAddr::from([10, 1, 2, 3])]);
    assert_eq!(found("[::1]"), [IpAddr::from(Ipv6Addr::LOCALHOST)]);
    for host in ["localhost", "LOCALHOST.", "account.blob.localhost"] {
        assert_eq!(found(host)[0], IpAddr::from(Ipv4Addr::LOCALHOST), "{host}");
    }
}

#[test]
fn the_table_comes_first_and_the_hosts_file_second() {
    let file = std::env::temp_dir().join(format!("lifeboat-hosts-{}", std::process::id()));
    let text = "# comment\n10.0.0.1 a.example b.example # c.example\nfe80::1 a.example\n\
        nonsense d.example\n10.0.0.2 table.example\n";
    std::fs::write(&file, text).unwrap();
    let mut options = offline();
    options.hosts_file = Some(file.clone());
    options.table = vec![("Table.Example.".to_owned(), IpAddr::from([192, 168, 0, 1]))];
    let names = Names::new(options);
    let found = |host: &str| names.addresses(host, PATIENCE).expect(host);
    assert_eq!(found("table.example"), [IpAddr::from([192, 168, 0, 1])]);
    assert_eq!(found("A.example").len(), 2);
    assert_eq!(found("b.example"), [IpAddr::from([10, 0, 0, 1])]);
    assert!(names.addresses("d.example", PATIENCE).is_err(), "the line has no address");
    drop(std::fs::remove_file(file));
}

#[test]
fn answers_are_remembered_for_as_long_as_they_say() {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let plan = move |question: &Served| {
        count.fetch_add(1, Ordering::Relaxed);
        Plan::address(question, 60)
    };
    let server = serve(plan);
    let names = Names::new(NameOptions { servers: vec![server.address], ..offline() });
    for _ in 0..3 {
        let found = names.addresses("host.example", PATIENCE).expect("an address");
        assert_eq!(found[0], IpAddr::from([10, 9, 8, 7]), "IPv4 comes first");
        assert_eq!(found.len(), 2, "A and AAAA");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2, "once for A, once for AAAA");
}

#[test]
fn a_name_that_is_none_and_a_server_that_is_away_are_told_apart() {
    let server = serve(|_: &Served| Plan::NoSuchName);
    let names = Names::new(NameOptions { servers: vec![server.address], ..offline() });
    let failure = names.addresses("typo.example", PATIENCE).expect_err("no such name").to_failure();
    assert_eq!(failure.kind, Kind::NoSuchName);
    assert!(failure.what.contains("there is no host typo.example"), "{}", failure.what);
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let names = Names::new(NameOptions { servers: vec![gone], ..offline() });
    let failure = names.addresses("host.example", PATIENCE).expect_err("no server").to_failure();
    assert_eq!(failure.kind, Kind::NoNameServer);
    assert!(failure.what.contains("DNS server 127.0.0.1"), "{}", failure.what);
}

#[test]
fn short_names_are_tried_with_the_search_domains() {
    let file = std::env::temp_dir().join(format!("lifeboat-resolv-{}", std::process::id()));
    std::fs::write(&file, "search one.example two.example\noptions ndots:2\n").unwrap();
    let plan = |question: &Served| {
        if question.name == "vault.two.example." {
            Plan::address(question, 60)
        } else {
            Plan::NoSuchName
        }
    };
    let server = serve(plan);
    let options =
        NameOptions { resolv_conf: file.clone(), servers: vec![server.address], ..offline() };
    let names = Names::new(options);
    assert!(names.addresses("vault", PATIENCE).is_ok());
    assert!(names.addresses("vault.", PATIENCE).is_err(), "a whole name is tried as it is");
    drop(std::fs::remove_file(file));
}
