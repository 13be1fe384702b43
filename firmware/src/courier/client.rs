//! Clients whose requests a courier carries: where names and proxies stand is read here, what strangers answer is not.

use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use pipeline_azure::address::Origin;
use pipeline_azure::request::Request;
use pipeline_azure::transport::carrier::{Carrier, Stream};
use pipeline_azure::transport::failure::{Failure, Kind};
use pipeline_azure::transport::names::{NameOptions, Names};
use pipeline_azure::transport::pin::Pin;
use pipeline_azure::transport::proxy::{Proxy, Settled};
use pipeline_azure::transport::{Reply, Transport, TransportOptions, tls};
use pipeline_vault::Error;

use super::errand::{CAME_BYTES_MAX, Came, Errand};
use super::words::{self, ANSWER_BYTES_MAX, Answer, Asked, Begins, Named, Pieces};
use super::{Courier, Lane, Wants};

/// A courier that keeps silent so much longer than its own limits is ended.
const GRACE: Duration = Duration::from_secs(10);
/// Most of all certificates of a client.
const AUTHORITIES_BYTES_MAX: usize = 1 << 20;

/// Makes clients.
pub(super) struct Requests(pub(super) Arc<Courier>);

static NUMBER: AtomicU64 = AtomicU64::new(0);

impl Carrier for Requests {
    fn open(&self, options: &TransportOptions) -> Result<Arc<dyn Transport>, Error> {
        let mut authorities = options.ca_contents.clone();
        authorities.extend(tls::authorities(&options.ca_files)?);
        if authorities.iter().map(Vec::len).sum::<usize>() > AUTHORITIES_BYTES_MAX {
            return Err(Error::misuse("the certificates", "are longer than 1 MiB")
                .remedy("name a file with those that are needed in LIFEBOAT_CA_FILE"));
        }
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let words = words::Client {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            connect_millis: millis(options.connect),
            idle_millis: millis(options.idle),
            answer_millis: millis(options.answer),
            kept_connections: u32::try_from(options.kept_connections).unwrap_or(u32::MAX),
            kept_for_millis: millis(options.kept_for),
            authorities,
            pin: options.pin.as_ref().map(|pin| pin.wanted()),
        };
        // Longer than each of its steps may take: to find, to connect, to send or to hear.
        let silence = options.connect * 2 + options.idle + options.answer + GRACE;
        Ok(Arc::new(Client {
            courier: Arc::clone(&self.0),
            words,
            proxies: options.proxy.settle(&|name| std::env::var(name).ok())?,
            names: Names::new(options.names.clone()),
            servers: options.names.servers.clone(),
            pin: options.pin.clone(),
            silence,
        }))
    }
}

/// A client.
struct Client {
    courier: Arc<Courier>,
    words: words::Client,
    proxies: Settled,
    names: Names,
    servers: Vec<core::net::SocketAddr>,
    pin: Option<Arc<Pin>>,
    silence: Duration,
}

impl Transport for Client {
    fn send(
        &self,
        origin: &Origin,
        request: &Request<'_>,
        patience: Duration,
    ) -> Result<Reply, Failure> {
        let deadline = Instant::now() + patience.saturating_add(GRACE);
        let proxy = self.proxies.for_origin(origin);
        let (host, port) = match proxy {
            Some(proxy) => (proxy.host(), proxy.port()),
            None => (origin.host(), origin.port()),
        };
        let (known, resolv_conf) = self.names.written(host);
        let mut ports = vec![port];
        if known.is_empty() {
            ports.extend(self.servers.iter().map(core::net::SocketAddr::port));
        }
        let lane = self.courier.lane(Wants::Requests(self.words.number), &ports, deadline)?;
        let target = request.target();
        let body = request.body.as_deref();
        // What the wait for a lane took is gone.
        let left = deadline.saturating_duration_since(Instant::now()).saturating_sub(GRACE);
        let asked = Asked {
            https: origin.https,
            authority: origin.authority.as_str().into(),
            method: request.method,
            target: target.expose().into(),
            headers: request.headers.as_slice().into(),
            body: body.map(|body| u64::try_from(body.len()).unwrap_or(u64::MAX)),
            patience_millis: u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1),
            proxy: proxy.map(Proxy::url).map(|url| url.expose().into()),
            names: Named {
                host: host.into(),
                known,
                resolv_conf: resolv_conf.into(),
                servers: self.servers.clone(),
            },
        };
        let timed = Timed { deadline, silence: self.silence };
        let answer = self.ask(&lane, timed, &asked, body.unwrap_or_default());
        match answer.and_then(|answer| Ok((answer.shown, answer.checked()?))) {
            Err(error) => Err(broken(&lane, &error, &origin.authority)),
            Ok((shown, outcome)) => {
                if let Some(pin) = &self.pin {
                    pin.note(shown);
                }
                let (head, is_bodiless) = match outcome {
                    Ok(answered) => answered,
                    Err(failure) => {
                        lane.give_back();
                        return Err(failure);
                    }
                };
                let pieces = Pieces::new(&head, is_bodiless);
                let authority = origin.authority.clone();
                let mut body = Body { lane: Some(lane), timed, pieces, authority };
                body.give_back();
                Ok(Reply::carried(head, Box::new(body), origin.clone()))
            }
        }
    }
}

impl Client {
    fn ask(&self, lane: &Lane, timed: Timed, asked: &Asked<'_>, body: &[u8]) -> io::Result<Answer> {
        let mut stream = timed.over(&lane.stream);
        if lane.is_new {
            words::say(&mut stream, &Begins::Requests(Cow::Borrowed(&self.words)))?;
        }
        words::say(&mut stream, asked)?;
        // From where it is: what the kernel takes of it is the only copy.
        stream.write_all(body)?;
        words::hear(&mut stream, ANSWER_BYTES_MAX)
    }
}

/// Has an errand run by a courier; why it could not where it says nothing of it.
pub(super) fn run(courier: &Arc<Courier>, errand: &Errand<'_>) -> Result<Came, String> {
    let deadline = Instant::now() + errand.patience.saturating_add(GRACE);
    let (host, port) = errand.peer();
    let lane = courier.lane(Wants::Errand, port.as_slice(), deadline).map_err(|why| why.what)?;
    let (known, resolv_conf) = Names::new(NameOptions::default()).written(host);
    let names =
        Named { host: host.into(), known, resolv_conf: resolv_conf.into(), servers: Vec::new() };
    // What the wait for a lane took is gone.
    let left = deadline.saturating_duration_since(Instant::now());
    let timed = Timed { deadline, silence: left };
    let errand_of = errand.within(left.saturating_sub(GRACE));
    let mut stream = timed.over(&lane.stream);
    let came = words::say(&mut stream, &Begins::Errand { errand: Box::new(errand_of), names })
        .and_then(|()| words::hear::<Came>(&mut stream, CAME_BYTES_MAX))
        .and_then(|came| came.checked(errand.names()));
    let peer = if host.is_empty() { "name servers" } else { host };
    came.map_err(|error| broken(&lane, &error, peer).what)
}

/// What became of the courier, which is of no more use, and so of the request.
fn broken(lane: &Lane, error: &io::Error, authority: &str) -> Failure {
    if error.kind() == io::ErrorKind::TimedOut {
        lane.is_lost("it keeps silent for longer than it may");
        return Failure::new(Kind::Timeout, format!("{authority} fell silent"));
    }
    lane.is_lost(&error.to_string());
    Failure::new(Kind::Broken, format!("the service that asks {authority} ended"))
}

/// How long a lane is waited for.
#[derive(Clone, Copy)]
struct Timed {
    deadline: Instant,
    silence: Duration,
}

impl Timed {
    fn over(self, stream: &UnixStream) -> Over<'_> {
        Over { stream, timed: self }
    }

    fn left(self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now()).min(self.silence);
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

/// A lane with its limits of time.
struct Over<'a> {
    stream: &'a UnixStream,
    timed: Timed,
}

/// What the system says where a timeout of a socket has passed.
fn late(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

impl Read for Over<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.timed.left()?))?;
        self.stream.read(into).map_err(late)
    }
}

impl Write for Over<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.timed.left()?))?;
        // The kernel may take a part after a time; what it takes at once is all that is waited for.
        self.stream.write(&bytes[..bytes.len().min(1 << 20)]).map_err(late)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The body of an answer.
struct Body {
    /// Until all of it was read.
    lane: Option<Lane>,
    timed: Timed,
    pieces: Pieces,
    authority: String,
}

impl Body {
    fn give_back(&mut self) {
        if self.pieces.is_over
            && let Some(lane) = self.lane.take()
        {
            lane.give_back();
        }
    }
}

impl Stream for Body {
    fn read_some(&mut self, into: &mut [u8]) -> Result<usize, Failure> {
        let Some(lane) = &self.lane else { return Ok(0) };
        if Instant::now() >= self.timed.deadline {
            // Whoever reads took too long: that is no fault of the courier.
            self.lane = None;
            return Err(Failure::new(Kind::Timeout, format!("{} fell silent", self.authority)));
        }
        match self.pieces.read(&mut self.timed.over(&lane.stream), into) {
            Ok(read) => {
                self.give_back();
                read
            }
            Err(error) => {
                let failure = broken(lane, &error, &self.authority);
                self.lane = None;
                Err(failure)
            }
        }
    }
}
