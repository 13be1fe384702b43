//! A proxy between a client and an HTTP server that makes requests fail by rules: a status, a reset, a cut answer,
//! a delay, a lost reply. It speaks plain HTTP on loopback and changes nothing that no rule matches.

use std::io::{self, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use core::net::SocketAddr;
use core::time::Duration;

use crate::azurite::server::{
    Handler, Incoming, Server, answer, parse_head, read_head, read_request,
};

/// Longest wait for the server behind the proxy.
const UPSTREAM_SILENCE: Duration = Duration::from_secs(60);
/// Times of a rule that never ends.
pub const FOREVER: u32 = u32::MAX;

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Action {
    /// Answered by the proxy; the server never sees it.
    Status {
        /// The HTTP status.
        status: u16,
        /// Azure's code for it.
        code: String,
        /// Further headers, such as `Retry-After`.
        headers: Vec<(String, String)>,
        /// The body; `None` for Azure's usual XML.
        body: Option<Vec<u8>>,
    },
    /// The connection is reset before anything is forwarded.
    Reset,
    /// Forwarded; of the answer's body only so many bytes come back, then the connection ends.
    Cut {
        /// Bytes of the body that come back.
        after: usize,
    },
    /// Forwarded after a while.
    Delay(Duration),
    /// Forwarded and carried out; the answer is thrown away and the connection ends.
    DropReply,
}

impl Action {
    /// A refusal as Azure words it.
    pub fn status(status: u16, code: &str) -> Self {
        Self::Status { status, code: code.to_owned(), headers: Vec::new(), body: None }
    }

    /// A refusal that asks to be left alone for some seconds.
    pub fn busy(status: u16, code: &str, retry_after: u32) -> Self {
        let headers = vec![("Retry-After".to_owned(), retry_after.to_string())];
        Self::Status { status, code: code.to_owned(), headers, body: None }
    }
}

/// Which requests fail, how, and how often.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Only this method; empty for all.
    pub method: String,
    /// Only requests whose path and query contain this; empty for all.
    pub contains: String,
    /// So many matching requests pass first.
    pub skip: u32,
    /// So many fail; `FOREVER` for all.
    pub times: u32,
    /// Of those that match, so many in a thousand fail, drawn by the proxy's seed; 1000 for all.
    pub per_mille: u32,
    /// What happens to them.
    pub action: Action,
}

impl Rule {
    /// The next `times` requests of this method whose target contains the text.
    pub fn new(method: &str, contains: &str, times: u32, action: Action) -> Self {
        let (method, contains) = (method.to_owned(), contains.to_owned());
        Self { method, contains, skip: 0, times, per_mille: 1000, action }
    }

    /// Every request fails with this chance, for ever.
    pub fn chance(per_mille: u32, action: Action) -> Self {
        Self { per_mille, ..Self::new("", "", FOREVER, action) }
    }
}

/// One request that came by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub target: String,
    /// Which bytes of the object it is about, as its header says; empty for none.
    pub range: String,
    /// The length of its body.
    pub bytes: usize,
    /// The status that the server behind answered; 0 while there is none.
    pub status: u16,
    /// The name of what happened to it: `forward` where nothing did.
    pub action: &'static str,
}

/// The proxy; it ends when this is dropped.
pub struct FaultProxy {
    server: Server,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    seen: Vec<Seen>,
    /// How many were forgotten before those.
    forgotten: usize,
    connections: usize,
    random: u64,
}

impl FaultProxy {
    /// Starts it before the server at this port of loopback.
    pub fn start(upstream: u16) -> io::Result<Self> {
        let upstream = SocketAddr::from(([127, 0, 0, 1], upstream));
        let state = Arc::new(Mutex::new(State { random: 1, ..State::default() }));
        let server = Server::start(Forwarder { upstream, state: Arc::clone(&state) })?;
        Ok(Self { server, state })
    }

    /// Host and port.
    pub fn authority(&self) -> String {
        self.server.address().to_string()
    }

    /// Replaces the rules; earlier ones of the list come first. Forgets what was seen.
    pub fn set_rules(&self, rules: Vec<Rule>) {
        let mut state = self.lock();
        state.rules = rules;
        state.forgotten += state.seen.len();
        state.seen.clear();
    }

    /// Seeds the dice of rules that hold by chance.
    pub fn set_seed(&self, seed: u64) {
        self.lock().random = seed | 1;
    }

    /// The requests that came by since the rules were set.
    pub fn seen(&self) -> Vec<Seen> {
        self.lock().seen.clone()
    }

    /// How many connections clients have made.
    pub fn connections(&self) -> usize {
        self.lock().connections
    }

    /// How many requests met this fate since the rules were set.
    pub fn count(&self, action: &str) -> usize {
        self.lock().seen.iter().filter(|seen| seen.action == action).count()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What happens to this request, and that it came; with its number.
    fn take(&mut self, request: &Incoming) -> (Option<Action>, usize) {
        let dice = self.roll();
        let action = self.rules.iter_mut().find_map(|rule| {
            rule.takes(request, dice).then(|| {
                rule.times = if rule.times == FOREVER { FOREVER } else { rule.times - 1 };
                rule.action.clone()
            })
        });
        let range = request.headers.iter().find(|(name, _)| name == "x-ms-range");
        self.seen.push(Seen {
            method: request.method.clone(),
            target: request.target.clone(),
            range: range.map(|(_, value)| value.clone()).unwrap_or_default(),
            bytes: request.body.len(),
            status: 0,
            action: action.as_ref().map_or("forward", Action::name),
        });
        (action, self.forgotten + self.seen.len() - 1)
    }

    /// What the server answered to the request of this number.
    fn answered(&mut self, number: usize, status: u16) {
        let place = number.checked_sub(self.forgotten);
        if let Some(seen) = place.and_then(|place| self.seen.get_mut(place)) {
            seen.status = status;
        }
    }

    /// A number below a thousand.
    fn roll(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        u32::try_from(self.random % 1000).unwrap_or(0)
    }
}

impl Rule {
    fn takes(&mut self, request: &Incoming, dice: u32) -> bool {
        let fits = self.times > 0
            && (self.method.is_empty() || self.method == request.method)
            && request.target.contains(&self.contains)
            && dice < self.per_mille;
        if fits && self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        fits
    }
}

impl Action {
    fn name(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::Reset => "reset",
            Self::Cut { .. } => "cut",
            Self::Delay(_) => "delay",
            Self::DropReply => "drop_reply",
        }
    }
}

struct Forwarder {
    upstream: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Handler for Forwarder {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).connections += 1;
        let mut writer = stream.try_clone()?;
        let mut reader = BufReader::new(stream);
        let mut upstream: Option<BufReader<TcpStream>> = None;
        while let Some(request) = read_request(&mut reader)? {
            let lock = || self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let (action, number) = lock().take(&request);
            match action {
                Some(Action::Status { status, code, headers, body }) => {
                    let bytes = refusal(&request, status, &code, &headers, body);
                    writer.write_all(&bytes)?;
                    continue;
                }
                Some(Action::Reset) => return reset(&writer),
                Some(Action::Delay(time)) => thread::sleep(time),
                _ => {}
            }
            let reply = self.forward(&mut upstream, &request)?;
            lock().answered(number, reply.status);
            match action {
                Some(Action::DropReply) => return reset(&writer),
                Some(Action::Cut { after }) => {
                    writer.write_all(&reply.head)?;
                    writer.write_all(&reply.body[..after.min(reply.body.len())])?;
                    // A plain end, so that what was sent arrives.
                    return writer.shutdown(std::net::Shutdown::Both);
                }
                _ => {}
            }
            writer.write_all(&reply.head)?;
            writer.write_all(&reply.body)?;
            if reply.last {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// An answer as it came, byte for byte.
struct Reply {
    status: u16,
    head: Vec<u8>,
    body: Vec<u8>,
    /// The server ends the connection after it.
    last: bool,
}

impl Forwarder {
    /// Sends the request on, over the connection at hand or a new one where the server closed that.
    fn forward(
        &self,
        upstream: &mut Option<BufReader<TcpStream>>,
        request: &Incoming,
    ) -> io::Result<Reply> {
        if let Some(kept) = upstream
            && let Ok(reply) = exchange(kept, request)
        {
            return Ok(reply);
        }
        let stream = TcpStream::connect(self.upstream)?;
        stream.set_read_timeout(Some(UPSTREAM_SILENCE))?;
        stream.set_nodelay(true)?;
        exchange(upstream.insert(BufReader::new(stream)), request)
    }
}

fn exchange(upstream: &mut BufReader<TcpStream>, request: &Incoming) -> io::Result<Reply> {
    upstream.get_mut().write_all(&request.head)?;
    upstream.get_mut().write_all(&request.body)?;
    let head = read_head(upstream)?;
    if head.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let (first, headers) = parse_head(&head)?;
    let status = first.split(' ').nth(1).unwrap_or_default();
    let header = |name: &str| {
        headers.iter().find(|(has, _)| has == name).map(|(_, value)| value.to_ascii_lowercase())
    };
    let mut body = Vec::new();
    if request.method != "HEAD" && !matches!(status, "204" | "304") {
        if header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
            body = read_chunks(upstream)?;
        } else {
            let length = header("content-length").and_then(|length| length.parse().ok());
            body = vec![0; length.unwrap_or(0)];
            upstream.read_exact(&mut body)?;
        }
    }
    let last = header("connection").is_some_and(|value| value.contains("close"));
    Ok(Reply { status: status.parse().unwrap_or(0), head, body, last })
}

/// A chunked body as it is on the wire.
fn read_chunks(upstream: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    use std::io::BufRead as _;
    let mut raw = Vec::new();
    loop {
        let start = raw.len();
        upstream.read_until(b'\n', &mut raw)?;
        let line = String::from_utf8_lossy(&raw[start..]).into_owned();
        let digits = line.split(';').next().unwrap_or_default().trim();
        let length = usize::from_str_radix(digits, 16).map_err(io::Error::other)?;
        let body = raw.len();
        raw.resize(body + length + 2, 0);
        upstream.read_exact(&mut raw[body..])?;
        if length == 0 {
            return Ok(raw);
        }
    }
}

fn refusal(
    request: &Incoming,
    status: u16,
    code: &str,
    headers: &[(String, String)],
    body: Option<Vec<u8>>,
) -> Vec<u8> {
    let usual = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code>\
         <Message>made to fail by a test</Message></Error>"
    );
    let body = body.unwrap_or_else(|| usual.into_bytes());
    let mut all = vec![
        ("Content-Type", "application/xml"),
        ("x-ms-error-code", code),
        ("x-ms-request-id", "fault-proxy"),
    ];
    all.extend(headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let mut bytes = answer(status, &all, &body);
    if request.method == "HEAD" {
        bytes.truncate(bytes.len() - body.len());
    }
    bytes
}

/// Ends a connection with a reset instead of a goodbye.
fn reset(stream: &TcpStream) -> io::Result<()> {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))?;
    Ok(())
}
