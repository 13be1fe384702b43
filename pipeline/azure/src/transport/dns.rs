//! A small DNS client: asks the configured servers for A and AAAA over UDP, over TCP where an answer is cut; and for the name of an
//! address over UDP.
//!
//! It caches nothing, validates no signatures and resolves nothing by itself: the servers are recursive.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::time::Instant;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use core::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use ring::rand::SecureRandom as _;

use super::names::Datagrams;

/// Servers that are asked at most, as resolv.conf has it.
const SERVERS_MAX: usize = 3;
/// Aliases that are followed at most.
const ALIASES_MAX: usize = 16;
/// Largest answer over UDP without negotiating more.
const DATAGRAM_BYTES_MAX: usize = 4096;
/// How long the second of the two answers is waited for once the first is here: some servers drop AAAA.
const SECOND_ANSWER: Duration = Duration::from_millis(1000);

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// A server says that there is none.
    NoSuchName,
    /// No server gave an answer that counts.
    NoAnswer(String),
}

/// What resolv.conf says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(super) servers: Vec<SocketAddr>,
    search: Vec<String>,
    dots: usize,
    try_for: Duration,
    attempts: u32,
}

impl Settings {
    /// Reads the file; what it does not say is as resolver(5) has it.
    pub(super) fn parse(text: &str) -> Self {
        let mut settings = Self {
            servers: Vec::new(),
            search: Vec::new(),
            dots: 1,
            try_for: Duration::from_secs(3),
            attempts: 2,
        };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    settings.servers.extend(words.next().and_then(server));
                }
                Some("search" | "domain") => {
                    settings.search =
                        words.map(|domain| domain.trim_matches('.').to_owned()).collect();
                    settings.search.retain(|domain| !domain.is_empty());
                }
                Some("options") => words.for_each(|option| settings.option(option)),
                _ => {}
            }
        }
        settings.servers.truncate(SERVERS_MAX);
        if settings.servers.is_empty() {
            settings.servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53));
        }
        settings
    }

    fn option(&mut self, option: &str) {
        let (name, value) = option.split_once(':').unwrap_or((option, ""));
        let Ok(value) = value.parse::<u32>() else { return };
        match name {
            "ndots" => self.dots = usize::try_from(value.min(15)).unwrap_or(1),
            "timeout" => self.try_for = Duration::from_secs(u64::from(value.clamp(1, 30))),
            "attempts" => self.attempts = value.clamp(1, 5),
            _ => {}
        }
    }

    /// The names to ask for, in order: as it is, and with each search domain behind it.
    pub(super) fn candidates(&self, host: &str) -> Vec<String> {
        if host.ends_with('.') {
            return vec![host.to_owned()];
        }
        let whole = format!("{host}.");
        let mut names: Vec<String> =
            self.search.iter().map(|domain| format!("{host}.{domain}.")).collect();
        let whole_first = host.matches('.').count() >= self.dots;
        names.insert(if whole_first { 0 } else { names.len() }, whole);
        names
    }
}

/// A server's address. One that is reached over one link only names that by its number, as in `fe80::1%3`; one that
/// names it by name is passed over, as names are the system's.
fn server(word: &str) -> Option<SocketAddr> {
    match word.split_once('%') {
        Some((address, link)) => {
            Some(SocketAddrV6::new(address.parse().ok()?, 53, 0, link.parse().ok()?).into())
        }
        None => Some(SocketAddr::new(word.parse().ok()?, 53)),
    }
}

/// The client.
pub(super) struct Dns {
    settings: Settings,
    /// Who makes sockets, where we may bind none.
    datagrams: Option<Datagrams>,
}

/// What one server says of one name.
#[derive(Default)]
struct Said {
    addresses: Vec<IpAddr>,
    seconds: Option<u32>,
    /// Where the aliases end, if at a name that this answer says nothing more of.
    alias: Option<Name>,
    no_such_name: bool,
}

impl Dns {
    pub(super) fn new(settings: Settings, datagrams: Option<Datagrams>) -> Self {
        Self { settings, datagrams }
    }

    /// The addresses of a whole name, and for how many seconds they hold.
    pub(super) fn addresses(
        &self,
        name: &str,
        deadline: Instant,
    ) -> Result<(Vec<IpAddr>, u32), Trouble> {
        let mut name = Name::from_ascii(name).map_err(|_| Trouble::NoSuchName)?;
        for _ in 0..ALIASES_MAX {
            let said = self.ask_servers(&name, deadline)?;
            if !said.addresses.is_empty() {
                return Ok((said.addresses, said.seconds.unwrap_or(0)));
            }
            match said.alias {
                Some(alias) if !said.no_such_name => name = alias,
                _ => return Err(Trouble::NoSuchName),
            }
        }
        Err(Trouble::NoAnswer("its aliases go round in a circle".to_owned()))
    }

    /// The name of an address, as the first server that answers says.
    pub(super) fn name_of(&self, address: IpAddr, deadline: Instant) -> Option<String> {
        let name = Name::from(address);
        let found = self.settings.servers.iter().find_map(|server| {
            let question = Question::new(&name, RecordType::PTR).ok()?;
            let socket = self.connected(*server).ok()?;
            socket.send(&question.bytes).ok()?;
            let mut datagram = [0_u8; DATAGRAM_BYTES_MAX];
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return None;
                }
                socket.set_read_timeout(Some(left)).ok()?;
                let length = socket.recv(&mut datagram).ok()?;
                let message = datagram.get(..length).and_then(|it| Message::from_vec(it).ok());
                if let Some(message) = message.filter(|it| question.is_answered_by(it)) {
                    return Some(message);
                }
            }
        })?;
        found.answers.iter().find_map(|record| match &record.data {
            RData::PTR(name) => Some(name.0.to_ascii().trim_end_matches('.').to_owned()),
            _ => None,
        })
    }

    fn ask_servers(&self, name: &Name, deadline: Instant) -> Result<Said, Trouble> {
        let mut why = "no DNS server answers".to_owned();
        for _ in 0..self.settings.attempts {
            for server in &self.settings.servers {
                let until = deadline.min(Instant::now() + self.settings.try_for);
                if until <= Instant::now() {
                    return Err(Trouble::NoAnswer(why));
                }
                match self.ask(*server, name, until) {
                    Ok(said) => return Ok(said),
                    Err(reason) => why = format!("DNS server {} {reason}", server.ip()),
                }
            }
        }
        Err(Trouble::NoAnswer(why))
    }

    /// A connected socket takes datagrams of that server only, and hears when nobody listens there.
    fn connected(&self, server: SocketAddr) -> Result<UdpSocket, String> {
        if let Some(datagrams) = self.datagrams {
            return datagrams(server).map_err(|_| "cannot be reached".to_owned());
        }
        let local: IpAddr = if server.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let socket = UdpSocket::bind((local, 0)).map_err(|_| "cannot be asked".to_owned())?;
        socket.connect(server).map_err(|_| "cannot be reached".to_owned())?;
        Ok(socket)
    }

    /// Asks one server for both kinds of address at once.
    fn ask(&self, server: SocketAddr, name: &Name, until: Instant) -> Result<Said, String> {
        let socket = self.connected(server)?;
        let mut open =
            vec![Question::new(name, RecordType::A)?, Question::new(name, RecordType::AAAA)?];
        for question in &open {
            socket.send(&question.bytes).map_err(|_| "cannot be reached".to_owned())?;
        }
        let mut said = Said::default();
        let mut until = until;
        let mut datagram = [0_u8; DATAGRAM_BYTES_MAX];
        while !open.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || socket.set_read_timeout(Some(left)).is_err() {
                break;
            }
            let length = match socket.recv(&mut datagram) {
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => break,
                // Time is up, or a signal came: the loop looks at the clock.
                Err(_) => continue,
            };
            let Ok(message) = Message::from_vec(&datagram[..length]) else { continue };
            let Some(at) = open.iter().position(|question| question.is_answered_by(&message))
            else {
                continue;
            };
            let question = open.remove(at);
            let message = if message.metadata.truncation {
                over_tcp(server, &question, until).ok_or("cut its answer and refuses TCP")?
            } else {
                message
            };
            said.take(&message, name, question.kind)?;
            if !said.addresses.is_empty() {
                until = until.min(Instant::now() + SECOND_ANSWER);
            }
        }
        let heard = !said.addresses.is_empty() || open.is_empty();
        if heard { Ok(said) } else { Err("does not answer".to_owned()) }
    }
}

/// What the bytes of a server's answer say of a name: its addresses, and the name that its aliases end at. `None` where they
/// are no message, or say that the server is of no help. Takes any bytes.
#[must_use]
pub fn understand(bytes: &[u8], name: &str) -> Option<(Vec<IpAddr>, String)> {
    let message = Message::from_vec(bytes).ok()?;
    let name = Name::from_ascii(name).ok()?;
    let mut said = Said::default();
    for kind in [RecordType::A, RecordType::AAAA] {
        said.take(&message, &name, kind).ok()?;
    }
    Some((said.addresses, said.alias.map(|alias| alias.to_ascii()).unwrap_or_default()))
}

/// One question under way.
struct Question {
    id: u16,
    kind: RecordType,
    name: Name,
    bytes: Vec<u8>,
}

impl Question {
    fn new(name: &Name, kind: RecordType) -> Result<Self, String> {
        let mut id = [0_u8; 2];
        let random = ring::rand::SystemRandom::new().fill(&mut id);
        random.map_err(|_| "cannot be asked without random numbers".to_owned())?;
        let id = u16::from_ne_bytes(id);
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(name.clone(), kind));
        let bytes = message.to_vec().map_err(|_| "cannot be asked for this name".to_owned())?;
        Ok(Self { id, kind, name: name.clone(), bytes })
    }

    /// Whether the message is the answer to this question and no forgery of a passer-by.
    fn is_answered_by(&self, message: &Message) -> bool {
        let asked = message.queries.first().is_some_and(|query| {
            query.query_type() == self.kind && query.name().eq_ignore_root_case(&self.name)
        });
        message.metadata.id == self.id
            && message.metadata.message_type == MessageType::Response
            && asked
    }
}

/// Asks again over TCP, where answers have no limit that matters here.
fn over_tcp(server: SocketAddr, question: &Question, until: Instant) -> Option<Message> {
    let left = || {
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    };
    let mut stream = TcpStream::connect_timeout(&server, left()?).ok()?;
    stream.set_write_timeout(Some(left()?)).ok()?;
    let length = u16::try_from(question.bytes.len()).ok()?;
    stream.write_all(&length.to_be_bytes()).ok()?;
    stream.write_all(&question.bytes).ok()?;
    stream.set_read_timeout(Some(left()?)).ok()?;
    let mut length = [0_u8; 2];
    stream.read_exact(&mut length).ok()?;
    let mut answer = vec![0_u8; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).ok()?;
    Message::from_vec(&answer).ok().filter(|message| question.is_answered_by(message))
}

impl Said {
    /// Adds what an answer says.
    fn take(&mut self, message: &Message, name: &Name, kind: RecordType) -> Result<(), String> {
        match message.metadata.response_code {
            ResponseCode::NoError => {}
            ResponseCode::NXDomain => {
                self.no_such_name = true;
                return Ok(());
            }
            other => return Err(format!("answers «{other}»")),
        }
        let (mut at, mut followed) = (name.clone(), false);
        for _ in 0..ALIASES_MAX {
            let mut alias = None;
            for record in &message.answers {
                if !record.name.eq_ignore_root_case(&at) {
                    continue;
                }
                let address = match &record.data {
                    RData::A(address) if kind == RecordType::A => IpAddr::V4(address.0),
                    RData::AAAA(address) if kind == RecordType::AAAA => IpAddr::V6(address.0),
                    RData::CNAME(target) => {
                        alias = Some(target.0.clone());
                        continue;
                    }
                    _ => continue,
                };
                self.addresses.push(address);
                let seconds = self.seconds.map_or(record.ttl, |least| least.min(record.ttl));
                self.seconds = Some(seconds);
            }
            match alias {
                Some(target) => (at, followed) = (target, true),
                None => break,
            }
        }
        if followed {
            self.alias = Some(at);
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
