//! An appliance that is managed: the real door with TLS, accounts and audit log, in this process, and clients that log in.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use firmware::admin::accounts::Accounts;
use firmware::admin::audit::Room;
use firmware::admin::keep::MemoryKeep;
use firmware::serve::identity::Identity;
use firmware::serve::listen::api::Api;
use firmware::serve::listen::{Door, Teller};
use firmware_web::Status;
use firmware_web::api::{Role, Site};
use hal_linux::{SystemClock, SystemEntropy};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

/// The password of everybody.
pub const PASSWORD: &str = "correct horse battery";
/// Nothing takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to it.
pub type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A managed appliance, until it is dropped.
pub struct Managed {
    /// Where it listens.
    pub address: SocketAddr,
    /// Who may manage it.
    pub accounts: Arc<Accounts>,
    /// What it keeps.
    pub keep: Arc<MemoryKeep>,
    tls: Arc<ClientConfig>,
    serving: Option<Serving>,
}

/// The thread that serves, and what ends it.
struct Serving {
    end: Box<dyn FnOnce() + Send>,
    thread: std::thread::JoinHandle<()>,
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answered {
    /// HTTP's status.
    pub status: u16,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answered {
    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// Where it is none.
    pub fn json(&self) -> Value {
        let words = || format!("no JSON: {}", String::from_utf8_lossy(&self.body));
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", words()))
    }
}

/// How a client is known.
#[derive(Clone, Debug)]
enum Known {
    Nobody,
    Token(String),
    Session { cookie: String, csrf: String },
}

/// A client.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    known: Known,
}

/// How a client believes one certificate, as a person does who compared the fingerprint.
///
/// # Panics
/// Where it is no certificate.
pub fn believing(certificate: &[u8]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certificate.to_vec())).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

impl Managed {
    /// With this behind it, and `furnish` for what else is to be there. Users are `anna` and `bert`, administrators, `oskar`, an
    /// operator, and `vera`, who looks; all have [`PASSWORD`].
    ///
    /// # Panics
    /// Where it does not come up.
    pub fn start(site: Arc<dyn Site>, furnish: impl FnOnce(Api, &Arc<MemoryKeep>) -> Api) -> Self {
        let identity = Identity::generate("bed").expect("a certificate");
        let keep = Arc::new(MemoryKeep::default());
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let accounts = Arc::new(Accounts::new(keep.clone(), clock, entropy, Room::PARTITION));
        let users = accounts.everybody();
        users.add_first("anna", PASSWORD).expect("a user");
        let others =
            [("bert", Role::Administrator), ("oskar", Role::Operator), ("vera", Role::Viewer)];
        for (name, role) in others {
            users.add("anna", name, role, PASSWORD).expect("a user");
        }
        let api = Arc::new(furnish(Api::new(site, Arc::clone(&accounts)), &keep));
        let teller: Teller = Arc::new(|| Status { ready: true, ..Status::default() });
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let hosts = Arc::clone(&accounts);
        let door = Door::open_now(local, &identity, teller);
        let door = door
            .expect("a door")
            .with_api(api)
            .called(Arc::new(move |name| name == "bed" || hosts.is_host(name)));
        let address = door.address().expect("an address");
        let (end, thread) = door.serve_apart();
        let serving = Some(Serving { end: Box::new(end), thread });
        let tls = believing(identity.certificate());
        Self { address, accounts, keep, tls, serving }
    }

    /// A client that nobody knows.
    pub fn nobody(&self) -> Client {
        Client { address: self.address, tls: Arc::clone(&self.tls), known: Known::Nobody }
    }

    /// A client that logged in.
    ///
    /// # Panics
    /// Where it is not let in.
    pub fn client(&self, name: &str) -> Client {
        self.nobody().logged_in(name, PASSWORD)
    }
}

impl Drop for Managed {
    fn drop(&mut self) {
        if let Some(Serving { end, thread }) = self.serving.take() {
            end();
            let _ = thread.join();
        }
    }
}

impl Client {
    /// A client of an appliance elsewhere that nobody knows.
    pub fn of(address: SocketAddr, certificate: &[u8]) -> Self {
        Self { address, tls: believing(certificate), known: Known::Nobody }
    }

    /// The same, logged in.
    ///
    /// # Panics
    /// Where it is not let in.
    pub fn logged_in(&self, name: &str, password: &str) -> Self {
        let asked = serde_json::json!({ "name": name, "password": password });
        let answer = self.json("POST", "/session", &asked);
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        self.of_answer(&answer)
    }

    /// The same with the session that an answer began.
    ///
    /// # Panics
    /// Where it began none.
    pub fn of_answer(&self, answer: &Answered) -> Self {
        let cookie = answer.header("set-cookie").expect("a cookie");
        for wanted in ["; Secure", "; HttpOnly", "; SameSite=Strict", "; Path=/"] {
            assert!(cookie.contains(wanted), "{cookie}");
        }
        let cookie = cookie.split(';').next().expect("a cookie").to_owned();
        let csrf = answer.json()["csrf"].as_str().expect("a word").to_owned();
        Self { known: Known::Session { cookie, csrf }, ..self.clone() }
    }

    /// The same with a token.
    pub fn with_token(&self, token: &str) -> Self {
        Self { known: Known::Token(token.to_owned()), ..self.clone() }
    }

    /// The session's cookie alone, as another page has a browser send it.
    pub fn without_word(&self) -> Self {
        let mut client = self.clone();
        if let Known::Session { csrf, .. } = &mut client.known {
            csrf.clear();
        }
        client
    }

    /// A connection with TLS.
    ///
    /// # Panics
    /// Where there is none.
    pub fn connect(&self) -> Stream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
        let name = ServerName::try_from("lifeboat").expect("a name");
        let connection = ClientConnection::new(Arc::clone(&self.tls), name).expect("TLS");
        StreamOwned::new(connection, stream)
    }

    /// The head of a request, but for what a body wants; its path is whole where it does not begin below the API.
    pub fn head(&self, method: &str, path: &str) -> String {
        let path = match path.strip_prefix('!') {
            Some(whole) => whole.to_owned(),
            None => format!("/api/v1{path}"),
        };
        let known = match &self.known {
            Known::Nobody => String::new(),
            Known::Token(token) => format!("authorization: Bearer {token}\r\n"),
            Known::Session { cookie, csrf } => format!("cookie: {cookie}\r\nx-csrf: {csrf}\r\n"),
        };
        format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n{known}", self.address)
    }

    /// Asks, with further headers; what is answered.
    ///
    /// # Panics
    /// Where nothing is.
    pub fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answered {
        let mut stream = self.connect();
        let length = format!("content-length: {}\r\n", body.len());
        let length = if method == "GET" || method == "HEAD" { "" } else { &length };
        let head = self.head(method, path);
        let request = format!("{head}{length}connection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).expect("it is heard");
        // It may be answered, and closed on, before all of it was sent.
        let _ = stream.write_all(body).and_then(|()| stream.flush());
        answered(&mut stream, method == "HEAD").expect("an answer")
    }

    /// Asks without a body.
    pub fn get(&self, path: &str) -> Answered {
        self.ask("GET", path, "", b"")
    }

    /// Sends JSON.
    ///
    /// # Panics
    /// Where nothing is answered.
    pub fn json(&self, method: &str, path: &str, body: &Value) -> Answered {
        let body = serde_json::to_vec(body).expect("JSON");
        self.ask(method, path, "content-type: application/json\r\n", &body)
    }

    /// Sends text.
    pub fn text(&self, method: &str, path: &str, body: &str) -> Answered {
        self.ask(method, path, "content-type: text/plain\r\n", body.as_bytes())
    }
}

/// Reads one answer.
///
/// Errors: the connection ends before it does.
pub fn answered(stream: &mut impl io::Read, head_alone: bool) -> io::Result<Answered> {
    let head = head(stream)?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut answered = Answered { status: status.unwrap_or_default(), headers, body: Vec::new() };
    if head_alone || answered.status == 204 {
        return Ok(answered);
    }
    if answered.header("transfer-encoding").is_some() {
        answered.body = chunks(stream)?;
    } else {
        let length = answered.header("content-length").and_then(|length| length.parse().ok());
        answered.body = vec![0; length.unwrap_or_default()];
        stream.read_exact(&mut answered.body)?;
    }
    Ok(answered)
}

/// Reads up to the end of a head.
///
/// Errors: the connection ends before it does.
pub fn head(stream: &mut impl io::Read) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Reads the next chunk; nothing at the end.
///
/// Errors: the connection ends before it does.
pub fn chunk(stream: &mut impl io::Read) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&line);
    let length = usize::from_str_radix(text.trim(), 16).map_err(io::Error::other)?;
    let mut bytes = vec![0; length + 2];
    stream.read_exact(&mut bytes)?;
    bytes.truncate(length);
    Ok((length > 0).then_some(bytes))
}

fn chunks(stream: &mut impl io::Read) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(bytes) = chunk(stream)? {
        all.extend(bytes);
    }
    Ok(all)
}
