//! The service: a thread for each lane, which sends what is asked there and hands on what is answered.
//!
//! It opens no file: certificates, names and DNS servers come with what is asked.

use std::collections::HashMap;
use std::io::{self, Read, Write as _};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use core::net::SocketAddr;
use core::time::Duration;

use pipeline_azure::address::Origin;
use pipeline_azure::request::{Method, Request};
use pipeline_azure::response::Head;
use pipeline_azure::transport::carrier::Coming;
use pipeline_azure::transport::failure::{Failure, Kind};
use pipeline_azure::transport::names::{NameOptions, Names, Told};
use pipeline_azure::transport::pin::Pin;
use pipeline_azure::transport::proxy::{Proxy, ProxyChoice};
use pipeline_azure::transport::{HttpTransport, Reply, TransportOptions};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use super::words::{
    self, Answer, Answered, Asked, BROKEN, Begins, Named, ORDER_BYTES_MAX, PIECE_BYTES_MAX,
};
use super::{LANE, LANE_ENDS};
use crate::services::line::{Handed, Line};

/// Stack of a lane's thread: TLS with its certificates is deep, but not that deep.
pub(super) const STACK_BYTES: usize = 512 * 1024;
/// A keeper who takes nothing for so long wants no more.
const KEEPER_PATIENCE: Duration = Duration::from_secs(300);
/// A piece, and its length before it.
const PART_BYTES: usize = 4 + PIECE_BYTES_MAX;

/// The service.
pub(crate) fn run(line: Line, _: Handed) -> Result<(), String> {
    let clients = Arc::new(Clients::default());
    while let Some(handed) = line.receive(LANE.len()).map_err(|error| error.to_string())? {
        for file in handed.files {
            let (stream, clients) = (UnixStream::from(file), Arc::clone(&clients));
            let lane = std::thread::Builder::new().name("lane".to_owned()).stack_size(STACK_BYTES);
            // Where there is no thread for it the lane ends, which its keeper hears.
            let begun = lane.spawn(move || {
                if let Err(error) = serve(&stream, &clients) {
                    log::debug!("a lane ended: {error}");
                }
            });
            begun.map_err(|error| format!("no lane can be begun: {error}"))?;
        }
    }
    Ok(())
}

/// Clients, as long as a lane has them: with their connections.
#[derive(Default)]
struct Clients(Mutex<HashMap<u64, Weak<Client>>>);

struct Client {
    http: HttpTransport,
    told: Arc<Told>,
    pin: Option<Arc<Pin>>,
}

impl Clients {
    fn of(&self, words: &words::Client) -> io::Result<Arc<Client>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = all.get(&words.number).and_then(Weak::upgrade) {
            return Ok(client);
        }
        all.retain(|_, client| client.strong_count() > 0);
        let client = Arc::new(Client::new(words).map_err(io::Error::other)?);
        all.insert(words.number, Arc::downgrade(&client));
        Ok(client)
    }
}

impl Client {
    fn new(words: &words::Client) -> Result<Self, pipeline_vault::Error> {
        let (told, pin) = (Told::new(datagrams), words.pin.map(Pin::new));
        let http = HttpTransport::new(&TransportOptions {
            connect: Duration::from_millis(words.connect_millis),
            idle: Duration::from_millis(words.idle_millis),
            answer: Duration::from_millis(words.answer_millis),
            kept_connections: usize::try_from(words.kept_connections).unwrap_or(usize::MAX),
            kept_for: Duration::from_millis(words.kept_for_millis),
            ca_files: Vec::new(),
            ca_contents: words.authorities.clone(),
            pin: pin.clone(),
            // Each request says its own.
            proxy: ProxyChoice::Never,
            names: told_alone(&told),
        })?;
        Ok(Self { http, told, pin })
    }
}

/// Names as somebody tells them: no file is opened.
fn told_alone(told: &Arc<Told>) -> NameOptions {
    NameOptions {
        table: Vec::new(),
        hosts_file: None,
        resolv_conf: PathBuf::new(),
        servers: Vec::new(),
        told: Some(Arc::clone(told)),
    }
}

/// Names for one errand.
fn resolver(names: &Named<'_>) -> Names {
    let told = Told::new(datagrams);
    told.tell(&names.host, &names.known, &names.resolv_conf, &names.servers);
    Names::new(told_alone(&told))
}

/// A socket for datagrams to one address, bound to no address of its own: for that there is no call on the list.
pub(super) fn datagrams(server: SocketAddr) -> io::Result<UdpSocket> {
    let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    connect(&socket, &server)?;
    Ok(socket.into())
}

/// Serves a lane to its end.
fn serve(stream: &UnixStream, clients: &Clients) -> io::Result<()> {
    stream.set_write_timeout(Some(KEEPER_PATIENCE))?;
    stream.set_read_timeout(Some(LANE_ENDS))?;
    let mut lane = stream;
    let client = match words::hear(&mut lane, ORDER_BYTES_MAX)? {
        Begins::Requests(client) => clients.of(&client)?,
        Begins::Errand { errand, names } => {
            return words::say(&mut lane, &errand.run(&resolver(&names)));
        }
    };
    let mut part = vec![0; PART_BYTES];
    loop {
        let asked: Asked<'_> = words::hear(&mut lane, ORDER_BYTES_MAX)?;
        let mut body = Sent { from: stream, left: asked.body.unwrap_or_default() };
        let sent = client.send(&asked, &mut body);
        // What the peer did not want to have is still on its way.
        body.pass_over()?;
        let shown = client.pin.as_ref().and_then(|pin| pin.shown());
        match sent {
            Err(failure) => {
                let outcome = Err((failure.kind, failure.what));
                words::say(&mut lane, &Answer { shown, outcome })?;
            }
            Ok(reply) => hand_on(reply, asked.method, shown, stream, &mut part)?,
        }
    }
}

impl Client {
    fn send(&self, asked: &Asked<'_>, body: &mut Sent<'_>) -> Result<Reply, Failure> {
        let names = &asked.names;
        self.told.tell(&names.host, &names.known, &names.resolv_conf, &names.servers);
        let origin = Origin { https: asked.https, authority: asked.authority.clone().into_owned() };
        let proxy = asked.proxy.as_ref().map(|url| Proxy::parse(url)).transpose();
        let proxy = proxy.map_err(|error| Failure::new(Kind::Request, error.what))?;
        let mut request = Request::new(asked.method, asked.target.clone());
        request.headers = asked.headers.to_vec();
        let bytes = body.left;
        let coming = asked.body.is_some().then_some(Coming { bytes, from: body });
        let patience = Duration::from_millis(asked.patience_millis);
        self.http.relay(&origin, request, coming, proxy.as_ref(), patience)
    }
}

/// Hands on an answer: its head, and its body piece by piece.
fn hand_on(
    mut reply: Reply,
    method: Method,
    shown: Option<[u8; 32]>,
    mut lane: &UnixStream,
    part: &mut [u8],
) -> io::Result<()> {
    let Head { status, headers } = reply.head.clone();
    let is_bodiless = method == Method::Head
        || matches!(status, 204 | 304)
        || reply.head.content_length() == Some(0);
    let outcome = Ok(Answered { status, headers, is_bodiless });
    words::say(&mut lane, &Answer { shown, outcome })?;
    if is_bodiless {
        reply.drain();
        return Ok(());
    }
    loop {
        let (length, piece) = part.split_at_mut(4);
        match reply.read_some(piece) {
            Ok(read) => {
                length.copy_from_slice(&u32::try_from(read).unwrap_or(BROKEN).to_le_bytes());
                lane.write_all(&part[..4 + read])?;
                if read == 0 {
                    return Ok(());
                }
            }
            Err(failure) => {
                lane.write_all(&BROKEN.to_le_bytes())?;
                return words::say(&mut lane, &(failure.kind, failure.what));
            }
        }
    }
}

/// What the keeper sends behind a request.
struct Sent<'a> {
    from: &'a UnixStream,
    left: u64,
}

impl Sent<'_> {
    fn pass_over(&mut self) -> io::Result<()> {
        io::copy(self, &mut io::sink()).map(drop)
    }
}

impl Read for Sent<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        if most == 0 {
            return Ok(0);
        }
        match self.from.read(&mut into[..most])? {
            // An end that is none would be waited for without end.
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.left -= u64::try_from(read).unwrap_or(u64::MAX);
                Ok(read)
            }
        }
    }
}
