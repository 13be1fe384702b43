//! Sessions with an appliance: found, begun, kept and begun again, on threads of their own.
//!
//! Appliances are tried in their order; the first that welcomes is talked to until the connection is lost. It refuses to
//! decide what is said: that is the loop's, over [`Exchange`].

use core::net::SocketAddr;
use core::time::Duration;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use hal::time::{Clock, Entropy};
use hal_linux::{SystemClock, SystemEntropy};
use pipeline::ids::ServerId;
use pipeline_wire::message::{
    FromAgent, FromAppliance, Hello, Refused, VERSION, VERSION_MIN, Welcome, Why,
};
use pipeline_wire::version::is_spoken;

use crate::outbox::Parcel;
use crate::state::Enrolment;

/// Bytes of a connection as messages.
mod decode;
/// What the loop and the talking threads hand each other.
pub mod exchange;
/// One TLS connection.
pub mod link;
/// Certificates, one after the other.
pub mod renewal;

use exchange::{Event, Exchange, Introduction, Next};
use link::Link;
use renewal::Renewal;

/// The first pause before another try; it doubles.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The pause after a refusal that only a person can mend; they may, so it is asked again.
const PAUSE_REFUSED: Duration = Duration::from_secs(300);
/// How long an appliance may take to answer Hello: it may have to read the server's map from far away.
const WELCOME: Duration = Duration::from_secs(60);
/// After so long without a byte the appliance is taken for dead (PROTOCOL.md): it says something every ten seconds.
const SILENCE: Duration = Duration::from_secs(30);
/// A way this long is worth more than one connection: a lost packet then stops only a part.
const FAR: Duration = Duration::from_millis(20);
/// Connections of a session over a far way.
const CONNECTIONS_FAR: u16 = 3;

/// Who this is and whom it looks for.
#[derive(Clone, Debug)]
pub struct Party {
    /// Where appliances listen, in the order in which they are tried.
    pub addresses: Vec<SocketAddr>,
    /// How we know each other.
    pub renewal: Arc<Renewal>,
    /// Whom we were enrolled as.
    pub server: ServerId,
    /// Its name.
    pub host: String,
    /// Its kernel.
    pub kernel: String,
}

impl Party {
    /// Whom this machine was enrolled as.
    ///
    /// Errors: what was kept of it is of no use.
    pub fn of(enrolment: &Enrolment) -> Result<Self, String> {
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in &enrolment.addresses {
            match address.parse() {
                Ok(address) => addresses.push(address),
                Err(_) => log::warn!("{address} is no address and port; it is left out"),
            }
        }
        let uname = rustix::system::uname();
        Ok(Self {
            addresses,
            renewal: Arc::new(Renewal::new(enrolment)?),
            server: enrolment.server,
            host: uname.nodename().to_string_lossy().into_owned(),
            kernel: uname.release().to_string_lossy().into_owned(),
        })
    }
}

/// How an attempt ended.
enum Ended {
    /// No session came about, or it was lost: in words.
    Lost(String),
    /// Refused by all that answered.
    Refused(Refused),
}

/// Keeps a session until the exchange is stopped.
pub fn keep(party: &Party, exchange: &Arc<Exchange>) {
    let mut pause = PAUSE;
    while let Some((introduced, introduction)) = exchange.introduction() {
        let began = Instant::now();
        let ended = attempt(party, exchange, introduced, &introduction);
        exchange.lost(introduced, 0);
        if exchange.is_stopping() {
            return;
        }
        if began.elapsed() > PAUSE_MAX {
            pause = PAUSE;
        }
        let wait = match ended {
            Ended::Lost(words) => {
                log::warn!("{words}");
                exchange.inform(Event::Away(words));
                pause
            }
            Ended::Refused(refused) => {
                log::warn!("refused: {}; {}", refused.words, refused.remedy);
                let wait = if is_lasting(refused.why) { PAUSE_REFUSED } else { pause };
                exchange.inform(Event::Refused(refused));
                wait
            }
        };
        if !exchange.pause(introduced, jittered(wait)) {
            return;
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Whether a refusal stays until a person does something.
#[must_use]
pub fn is_lasting(why: Why) -> bool {
    matches!(why, Why::Unknown | Why::Copy | Why::Demoted | Why::Version)
}

/// Between half of it and one and a half, so that a hundred agents do not come at once.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [128];
    // Without randomness everybody waits the same: no harm.
    let _ = SystemEntropy.fill(&mut byte);
    pause * (128 + u32::from(byte[0])) / 256
}

/// Tries each address once, and talks with the first that welcomes.
fn attempt(
    party: &Party,
    exchange: &Arc<Exchange>,
    introduced: u64,
    introduction: &Introduction,
) -> Ended {
    let mut words = Vec::new();
    let mut refusal: Option<Refused> = None;
    for address in &party.addresses {
        match greet(party, *address, introduction, 0) {
            Ok((link, Ok(welcome))) => {
                log::info!("{address} welcomes this server (version {})", welcome.appliance);
                return Ended::Lost(talk_all(
                    party,
                    exchange,
                    introduced,
                    introduction,
                    link,
                    welcome,
                    *address,
                ));
            }
            // Another appliance may be the one that replicates this server now.
            Ok((link, Err(refused))) => {
                link.close();
                if refusal.as_ref().is_none_or(|before| !is_lasting(before.why)) {
                    refusal = Some(refused);
                }
            }
            Err(why) => words.push(format!("{address}: {why}")),
        }
    }
    match refusal {
        Some(refused) => Ended::Refused(refused),
        None if words.is_empty() => {
            Ended::Lost("no address of an appliance is known; enrol this server again".to_owned())
        }
        None => Ended::Lost(format!("no appliance is reached: {}", words.join("; "))),
    }
}

/// Dials, says Hello, and waits for the answer.
fn greet(
    party: &Party,
    address: SocketAddr,
    introduction: &Introduction,
    connection: u16,
) -> Result<(Link, Result<Box<Welcome>, Refused>), String> {
    let mut link = Link::dial(address, &party.renewal.tls())?;
    let hello = Hello {
        version_min: VERSION_MIN,
        version_max: VERSION,
        agent: env!("CARGO_PKG_VERSION").to_owned(),
        host: party.host.clone(),
        kernel: party.kernel.clone(),
        server: party.server,
        binding: introduction.binding.clone(),
        run: introduction.run,
        connection,
        disks: if connection == 0 { introduction.disks.clone() } else { Vec::new() },
    };
    let hello = Parcel::new(&FromAgent::Hello(Box::new(hello)), Vec::new());
    link.give(Arc::new(hello.map_err(|error| error.to_string())?));
    let (waker, _nobody) = UnixStream::pair().map_err(|error| error.to_string())?;
    waker.set_nonblocking(true).map_err(|error| error.to_string())?;
    let until = Instant::now() + WELCOME;
    loop {
        link.write()?;
        let mut messages = link.read()?.into_iter();
        match messages.next() {
            Some(FromAppliance::Welcome(welcome)) if !is_spoken(welcome.version) => {
                return Err("it chose a version of the protocol that was not offered".to_owned());
            }
            Some(FromAppliance::Welcome(welcome)) => {
                // What is owed to this run stands directly behind it, and often arrives with it.
                link.unread(messages.collect());
                return Ok((link, Ok(welcome)));
            }
            Some(FromAppliance::Refused(refused)) => return Ok((link, Err(refused))),
            Some(_) => return Err("it answered Hello with something else".to_owned()),
            None => {}
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("it took the connection and did not answer".to_owned());
        }
        link.wait(&waker, left)?;
    }
}

/// Talks over the first connection, and over more of them where the way is far; why it ended.
fn talk_all(
    party: &Party,
    exchange: &Arc<Exchange>,
    introduced: u64,
    introduction: &Introduction,
    link: Link,
    welcome: Box<Welcome>,
    address: SocketAddr,
) -> String {
    let far = link.round_trip() >= FAR;
    if let Err(words) = exchange.welcome(introduced, welcome) {
        return words;
    }
    thread::scope(|scope| {
        for connection in 1..if far { CONNECTIONS_FAR } else { 1 } {
            scope.spawn(move || {
                // Where this does not work out, the first connection does everything.
                let ended = greet(party, address, introduction, connection)
                    .and_then(|(link, answer)| {
                        answer.map(|_| link).map_err(|refused| refused.words)
                    })
                    .and_then(|link| talk(party, exchange, introduced, connection, link));
                exchange.lost(introduced, connection);
                if let Err(words) = ended {
                    log::info!("connection {connection} to {address} ended: {words}");
                }
            });
        }
        let ended = talk(party, exchange, introduced, 0, link);
        exchange.lost(introduced, 0);
        match ended {
            Ok(()) => format!("the session with {address} was ended"),
            Err(words) => format!("{address}: {words}"),
        }
    })
}

/// Talks over one connection until it is lost, or its session over.
fn talk(
    party: &Party,
    exchange: &Arc<Exchange>,
    introduced: u64,
    connection: u16,
    mut link: Link,
) -> Result<(), String> {
    let (ours, theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
    for end in [&ours, &theirs] {
        end.set_nonblocking(true).map_err(|error| error.to_string())?;
    }
    exchange.wake_by(theirs);
    loop {
        for said in link.read()? {
            match said {
                FromAppliance::Renewed { certificate } => party.renewal.hear(certificate),
                said => exchange.hear(said)?,
            }
        }
        if link.silence() > SILENCE {
            return Err(
                "it said nothing for too long: it hangs, or the way to it is cut".to_owned()
            );
        }
        let mut limit = SILENCE / 6;
        while link.is_idle() {
            match exchange.next(introduced, connection, SystemClock.moment()) {
                Next::Send(parcel) => {
                    link.give(parcel);
                    link.write()?;
                }
                Next::Nothing(again) => {
                    limit = limit.min(again);
                    break;
                }
                Next::End => {
                    link.write()?;
                    link.close();
                    return Ok(());
                }
            }
        }
        link.write()?;
        link.wait(&ours, limit)?;
    }
}

#[cfg(test)]
mod tests;
