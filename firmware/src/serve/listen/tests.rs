//! Strangers at the door: those who speak, those who do not, and those who never end.

use std::io::{Read as _, Write as _};
use std::net::TcpStream as StdStream;

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use super::*;

/// What ends the door, and its thread.
type Serving = (Box<dyn FnOnce()>, std::thread::JoinHandle<()>);

struct Bed {
    address: SocketAddr,
    identity: Identity,
    serving: Option<Serving>,
}

impl Bed {
    fn new() -> Self {
        let identity = Identity::generate("bed").unwrap();
        let fingerprint = identity.fingerprint();
        let teller: Teller = Arc::new(move || Status {
            product: "lifeboat",
            ready: true,
            certificate_sha256: fingerprint.clone(),
            ..Status::default()
        });
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let door = Door::open_now(local, &identity, teller).unwrap();
        let address = door.address().unwrap();
        let (end, thread) = door.serve_apart();
        Self { address, identity, serving: Some((Box::new(end), thread)) }
    }

    fn connect(&self) -> StdStream {
        let stream = StdStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    fn tls(&self) -> StreamOwned<ClientConnection, StdStream> {
        self.tls_of(rustls::DEFAULT_VERSIONS)
    }

    fn tls_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> StreamOwned<ClientConnection, StdStream> {
        // Believes one certificate, as a person does who compared the fingerprint.
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.identity.certificate().to_vec())).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("lifeboat").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        StreamOwned::new(connection, self.connect())
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = self.tls();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // A peer that closes without TLS's farewell is no matter here.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.serving.take() {
            end();
            thread.join().unwrap();
        }
    }
}

#[test]
fn the_page_comes_over_tls_with_the_certificate_whose_fingerprint_it_shows() {
    let bed = Bed::new();
    let answer = bed.ask("GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains(&bed.identity.fingerprint()));
    let head =
        bed.ask("HEAD /status.json HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    let post = bed.ask(
        "POST / HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi",
    );
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
}

/// What somebody says first who speaks no TLS after 1.1.
fn hello_of_tls_1_1() -> Vec<u8> {
    let mut body = vec![3, 2];
    body.extend([7; 32]);
    // No session; two suites that 1.1 has; no compression; one algorithm to sign with.
    body.extend([0, 0, 4, 0xc0, 0x09, 0xc0, 0x13, 1, 0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
    let bytes = u8::try_from(body.len()).unwrap();
    [&[0x16, 3, 1, 0, bytes + 4, 1, 0, 0, bytes][..], &body].concat()
}

#[test]
fn tls_1_2_and_1_3_are_served_each_alone_and_what_is_older_is_refused() {
    let bed = Bed::new();
    for version in [&TLS12, &TLS13] {
        let mut stream = bed.tls_of(&[version]);
        let ask = b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
        stream.write_all(ask).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{version:?}");
        assert_eq!(stream.conn.protocol_version(), Some(version.version));
    }
    let mut stream = bed.connect();
    stream.write_all(&hello_of_tls_1_1()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    // A fatal alert: protocol_version.
    assert_eq!((answer.first(), answer.get(5..)), (Some(&0x15), Some(&[2, 70][..])), "{answer:?}");
}

#[test]
fn whoever_speaks_no_tls_is_told_so() {
    let bed = Bed::new();
    let mut stream = bed.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(body.contains("open https://"));
    assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
}

#[test]
fn nonsense_and_silence_keep_nobody_else_out() {
    let bed = Bed::new();
    let silent: Vec<StdStream> = (0..8).map(|_| bed.connect()).collect();
    for junk in [&b"\x16\x03\x01\xff\xff"[..], b"\x16", b"\0\0\0\0", &[0x16; 4096]] {
        let mut stream = bed.connect();
        stream.write_all(junk).unwrap();
    }
    let long = format!("GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx: {}\r\n\r\n", "a".repeat(64 * 1024));
    let mut stream = bed.tls();
    // It may be cut off while it still writes.
    let _ = stream.write_all(long.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    let answer = bed.ask("GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok\n"), "{answer}");
    drop(silent);
}

#[test]
fn a_crowd_of_strangers_keeps_nobody_out() {
    let bed = Bed::new();
    let held: Vec<StdStream> = (0..places::OF_ADDRESS_MAX + 40).map(|_| bed.connect()).collect();
    let answer = bed.ask("GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert!(answer.ends_with("ok\n"), "{answer}");
    // The first of them had to go.
    let mut first = &held[0];
    let ended = matches!(first.read(&mut [0]), Ok(0)) || first.read(&mut [0]).is_err();
    assert!(ended);
}

#[test]
fn a_name_of_somebody_else_that_leads_here_is_not_answered() {
    let bed = Bed::new();
    let ask = |target: &str, hosts: &str| {
        bed.ask(&format!("GET {target} HTTP/1.1\r\n{hosts}connection: close\r\n\r\n"))
    };
    for hosts in ["host: 127.0.0.1\r\n", "host: [::1]:8443\r\n", "host: localhost\r\n"] {
        assert!(ask("/status.json", hosts).starts_with("HTTP/1.1 200 "), "{hosts}");
    }
    for (target, hosts) in [
        ("/status.json", "host: evil.example\r\n"),
        ("/", "host: 127.0.0.1.evil.example\r\n"),
        ("/status.json", "host: 127.0.0.1\r\nhost: evil.example\r\n"),
        ("https://evil.example/status.json", "host: 127.0.0.1\r\n"),
        ("/", "host:\r\n"),
        ("/", ""),
    ] {
        let answer = ask(target, hosts);
        assert!(answer.starts_with("HTTP/1.1 421 "), "{target} {hosts} {answer}");
    }
    assert!(ask("/health", "host: balancer\r\n").starts_with("HTTP/1.1 200 "));
}
