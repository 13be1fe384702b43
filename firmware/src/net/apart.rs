//! The listener as a service of its own: no byte of a stranger on a cable is read by who keeps the network, and the keys.
//!
//! The service is handed each link as open sockets, which lead to that link alone. What it tells is plain values, which are weighed
//! before they are believed (`machine/held.rs`); who lies, or says too much, is ended and begun anew.

use core::time::Duration;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use hal::net::address::Mac;
use hal::net::nic::{Event, NetError, Nic as _};
use hal::time::{Clock, Moment};
use hal_linux::{LinuxNic, LinuxStack, SystemClock};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};
use serde::{Deserialize, Serialize};

use crate::net::below::{Below, News, Nics, hear, patience, say};
use crate::net::listener::{Listener, Order, Told};
use crate::restart::Pace;
use crate::services::line::{Handed, Line, MESSAGE_BYTES_MAX};
use crate::services::{self, NETWORK, Running};

/// What it is told first: there is nothing to know.
const HELLO: &[u8] = b"hear";
/// The service tells what changed no more often than this.
const TELL_MILLIS: u64 = 100;
/// So much is told in one message; the largest lease with all its words has room for it.
const TOLD_MAX: usize = 8;
/// Messages that are taken of it at once, and each second.
const MESSAGES_MAX: u64 = 512;
const MESSAGES_A_SECOND: u64 = 32;
/// Options of routers that are given to it at once, and each second; and the longest that name servers and domains.
const OPTIONS_MAX: u64 = 64;
const OPTIONS_A_SECOND: u64 = 16;
const OPTIONS_BYTES_MAX: usize = 4096;
/// A service that is to give leased addresses back has this long.
const END_PATIENCE: Duration = Duration::from_secs(2);
/// How long the service waits where nothing is to be done.
const REST: Duration = Duration::from_secs(60);

/// What the service is told.
#[derive(Debug, Serialize, Deserialize)]
enum Message {
    Order(Order),
    /// A link, whose sockets come with it.
    Open {
        link: u32,
        mac: Mac,
    },
    /// A link that is not heard any more.
    Close {
        link: u32,
    },
    /// Leased addresses are given back, and that is the end.
    Release,
}

/// So much at once, and so much each second.
#[derive(Debug)]
struct Allowance {
    left_millis: u64,
    counted: Moment,
    most: u64,
    a_second: u64,
}

impl Allowance {
    fn new(now: Moment, most: u64, a_second: u64) -> Self {
        Self { left_millis: most * 1000, counted: now, most, a_second }
    }

    /// Takes one, where there is one left.
    fn take(&mut self, now: Moment) -> bool {
        let more = now.since(self.counted).saturating_mul(self.a_second);
        self.left_millis = self.left_millis.saturating_add(more).min(self.most * 1000);
        self.counted = now;
        let left = self.left_millis.checked_sub(1000);
        self.left_millis = left.unwrap_or(self.left_millis);
        left.is_some()
    }
}

/// The service at work.
struct Work {
    running: Running,
    began: Moment,
    messages: Allowance,
    options: Allowance,
}

/// The listener, apart.
pub(crate) struct Apart {
    keeper: services::Keeper<'static>,
    work: Option<Work>,
    pace: Pace,
    rests_until: Moment,
    open: BTreeSet<u32>,
}

impl Apart {
    /// Nobody hears yet.
    pub(crate) fn new(keeper: services::Keeper<'static>) -> Self {
        let (work, pace, rests_until) = (None, Pace::default(), Moment(0));
        Self { keeper, work, pace, rests_until, open: BTreeSet::new() }
    }

    /// Starts the service where none runs and it is time.
    fn start(&mut self, now: Moment) -> bool {
        if self.work.is_some() || now < self.rests_until {
            return false;
        }
        let running = Running::start(&NETWORK, &self.keeper, HELLO, &[]).and_then(|running| {
            // Who does not listen must not hold up who speaks.
            let set = ioctl_fionbio(&running.line, true);
            set.map(|()| running).map_err(|errno| format!("the service network: {errno}"))
        });
        match running {
            Ok(running) => {
                self.open.clear();
                let messages = Allowance::new(now, MESSAGES_MAX, MESSAGES_A_SECOND);
                let options = Allowance::new(now, OPTIONS_MAX, OPTIONS_A_SECOND);
                self.work = Some(Work { running, began: now, messages, options });
                true
            }
            Err(words) => {
                self.rest(now, 0, &words);
                false
            }
        }
    }

    fn rest(&mut self, now: Moment, ran_millis: u64, words: &str) {
        let pause = self.pace.after(Duration::from_millis(ran_millis));
        log::warn!("{words}; started again in {} s", pause.as_secs());
        self.rests_until = now.after(pause.as_secs() * 1000);
    }

    /// The service is no more, for this reason.
    fn end(&mut self, now: Moment, why: impl FnOnce(Running) -> String) {
        let Some(work) = self.work.take() else { return };
        let words = why(work.running);
        self.rest(now, now.since(work.began), &words);
    }

    fn send(&mut self, now: Moment, message: &Message, files: &[OwnedFd]) {
        let Some(work) = &self.work else { return };
        let files: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
        let bytes = postcard::to_allocvec(message).map_err(io::Error::other);
        match bytes.and_then(|bytes| work.running.line.send(&bytes, &files)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.end(now, |_| "the service network does not listen, and was ended".to_owned());
            }
            Err(_) => self.end(now, |running| running.why(END_PATIENCE)),
        }
    }

    /// What it told.
    fn told(&mut self, now: Moment) -> Vec<Told> {
        let mut all = Vec::new();
        while let Some(work) = &mut self.work {
            match work.running.line.receive(MESSAGE_BYTES_MAX) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(Some(handed)) if work.messages.take(now) => match understood(&handed.bytes) {
                    Some(told) => all.extend(told),
                    None => self.disbelieve(now, "it says what no service says"),
                },
                Ok(Some(_)) => self.disbelieve(now, "it says more than there can be to say"),
                Ok(None) | Err(_) => self.end(now, |running| running.why(END_PATIENCE)),
            }
        }
        all
    }

    fn disbelieve(&mut self, now: Moment, why: &str) {
        self.end(now, |_| format!("the service network is not believed, and was ended: {why}"));
    }
}

fn understood(bytes: &[u8]) -> Option<Vec<Told>> {
    let (told, rest) = postcard::take_from_bytes::<Vec<Told>>(bytes).ok()?;
    (rest.is_empty() && told.len() <= TOLD_MAX).then_some(told)
}

impl Below<LinuxStack> for Apart {
    fn order(&mut self, now: Moment, order: Order) {
        // Routers say it again; who floods the cable does not hold up what else is to be said.
        if let (Order::Options { options, .. }, Some(work)) = (&order, &mut self.work)
            && (options.len() > OPTIONS_BYTES_MAX || !work.options.take(now))
        {
            return;
        }
        self.send(now, &Message::Order(order), &[]);
    }

    fn open(&mut self, now: Moment, nic: LinuxNic) {
        let (link, mac) = (nic.link(), nic.mac());
        self.open.insert(link);
        self.send(now, &Message::Open { link, mac }, &nic.hand_on());
    }

    fn keep(&mut self, is_open: &dyn Fn(u32) -> bool) {
        let closed: Vec<u32> = self.open.iter().copied().filter(|link| !is_open(*link)).collect();
        for link in closed {
            self.open.remove(&link);
            self.send(SystemClock.moment(), &Message::Close { link }, &[]);
        }
    }

    fn news(&mut self, now: Moment) -> Vec<News> {
        let told = self.told(now).into_iter();
        let mut news: Vec<News> = told.map(|told| News::Told(Box::new(told))).collect();
        if self.start(now) {
            news.push(News::Anew);
        }
        news
    }

    fn disbelieve(&mut self, now: Moment, why: &str) {
        Self::disbelieve(self, now, why);
    }

    fn wait(
        &mut self,
        stack: &mut LinuxStack,
        _: &dyn Clock,
        at_most: Duration,
    ) -> Result<Vec<Event>, NetError> {
        let line = self.work.iter().map(|work| work.running.line.as_fd());
        stack.wait_beside(&line.collect::<Vec<_>>(), at_most)
    }

    fn release(&mut self, now: Moment) {
        self.send(now, &Message::Release, &[]);
        if let Some(work) = self.work.take() {
            log::debug!("{}", work.running.why(END_PATIENCE));
        }
    }
}

/// The service: the listener with its links.
pub(crate) fn run(line: Line, _: Handed) -> Result<(), String> {
    let failed = |error: io::Error| error.to_string();
    ioctl_fionbio(&line, true).map_err(|errno| failed(errno.into()))?;
    let (mut listener, mut nics) = (Listener::default(), Nics::new());
    let (mut waiting, mut told_at) = (Vec::new(), Moment(0));
    loop {
        loop {
            match line.receive(MESSAGE_BYTES_MAX) {
                Ok(Some(handed)) => {
                    if !obey(&mut listener, &mut nics, handed)? {
                        return Ok(());
                    }
                }
                Ok(None) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(failed(error)),
            }
        }
        let now = SystemClock.moment();
        let deaf = hear(&mut nics, &mut listener, now);
        waiting.extend(deaf.into_iter().map(|link| Told::Deaf { link }));
        say(&mut nics, listener.poll(now));
        let mut rest = patience(&listener, now, REST);
        let quiet = told_at.after(TELL_MILLIS).since(now);
        if quiet > 0 {
            rest = rest.min(Duration::from_millis(quiet));
        } else {
            waiting.extend(listener.news(now));
            if !waiting.is_empty() {
                tell(&line, &waiting).map_err(failed)?;
                (told_at, rest) = (now, Duration::from_millis(TELL_MILLIS));
                waiting.clear();
            }
        }
        let sockets = nics.values().flat_map(LinuxNic::sockets);
        let files: Vec<_> = [line.as_fd()].into_iter().chain(sockets).collect();
        wait(&files, PollFlags::IN, rest).map_err(failed)?;
    }
}

/// Does as it is told; whether there is more to do.
fn obey(
    listener: &mut Listener,
    nics: &mut Nics<LinuxNic>,
    handed: Handed,
) -> Result<bool, String> {
    let now = SystemClock.moment();
    let message = postcard::from_bytes(&handed.bytes).map_err(|error| error.to_string())?;
    match message {
        Message::Order(order) => listener.take(now, order),
        Message::Open { link, mac } => {
            let sockets = handed.files.try_into().map_err(|_| "a link has three sockets")?;
            nics.insert(link, LinuxNic::handed_on(link, mac, sockets));
        }
        Message::Close { link } => drop(nics.remove(&link)),
        Message::Release => {
            say(nics, listener.release(now));
            return Ok(false);
        }
    }
    Ok(true)
}

/// Tells it all, however long the other end takes to hear it.
fn tell(line: &Line, all: &[Told]) -> io::Result<()> {
    for told in all.chunks(TOLD_MAX) {
        let bytes = postcard::to_allocvec(told).map_err(io::Error::other)?;
        while let Err(error) = line.send(&bytes, &[]) {
            if error.kind() != io::ErrorKind::WouldBlock {
                return Err(error);
            }
            wait(&[line.as_fd()], PollFlags::OUT, REST)?;
        }
    }
    Ok(())
}

fn wait(
    files: &[std::os::fd::BorrowedFd<'_>],
    what: PollFlags,
    at_most: Duration,
) -> io::Result<()> {
    let mut files: Vec<_> =
        files.iter().map(|file| PollFd::from_borrowed_fd(*file, what)).collect();
    let seconds = i64::try_from(at_most.as_secs()).unwrap_or(i64::MAX);
    let time = Timespec { tv_sec: seconds, tv_nsec: at_most.subsec_nanos().into() };
    match poll(&mut files, Some(&time)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use hal::net::address::Cidr;
    use hal::net::dhcp4::client::{Phase, Trouble};
    use hal::net::dhcp4::lease::Lease;
    use hal_sim::random::Random;

    use super::*;
    use crate::net::listener::{Asked, Begin, Four, Look, Stand};

    #[test]
    fn whoever_tells_a_thousand_times_a_second_is_heard_no_more_and_who_tells_ten_times_always() {
        let mut flood = Allowance::new(Moment(0), MESSAGES_MAX, MESSAGES_A_SECOND);
        let taken = (0..10_000).filter(|milli| flood.take(Moment(*milli))).count();
        // What is there at once, and ten seconds more of it.
        assert!((512..=512 + 10 * 32).contains(&taken), "{taken}");
        let mut busy = Allowance::new(Moment(0), MESSAGES_MAX, MESSAGES_A_SECOND);
        assert!((0..100_000).all(|round| busy.take(Moment(round * TELL_MILLIS))));
        // A clock that stands still gives nothing, and one that jumps no more than there is at once.
        assert!((0..600).filter(|_| busy.take(Moment(u64::MAX))).count() <= 512);
    }

    /// The most that one link can have told.
    fn largest() -> Told {
        let machine = Ipv4Addr::new(100, 100, 100, 100);
        let address: Cidr = "100.100.100.100/24".parse().unwrap();
        let lease = Lease {
            address,
            routers: vec![machine; 16],
            routes: vec![(address, machine); 64],
            dns: vec![machine; 16],
            domains: vec!["d".repeat(253); 32],
            ntp: vec![machine; 16],
            mtu: Some(u16::MAX),
            server: machine,
            seconds: u32::MAX,
            renew_seconds: u32::MAX,
            rebind_seconds: u32::MAX,
        };
        assert!(lease.is_sound());
        let by = Mac([0x52; 6]);
        let trouble = Some(Trouble::Duplicate { address: machine, machine: by });
        let asked =
            Asked { phase: Phase::Bound, lease: Some(lease), end: Some(Moment(u64::MAX)), trouble };
        let four = Four { asked: Some(asked), fixed: vec![Stand::Taken { by }; 64] };
        Told::Four { link: u32::MAX, run: u64::MAX, four }
    }

    #[test]
    fn what_is_told_fits_its_message_and_noise_is_nothing_that_was_told() {
        let all = vec![largest(); TOLD_MAX];
        let bytes = postcard::to_allocvec(&all).unwrap();
        assert!(bytes.len() <= MESSAGE_BYTES_MAX, "{}", bytes.len());
        assert_eq!(understood(&bytes), Some(all));
        let many = postcard::to_allocvec(&vec![Told::Deaf { link: 1 }; TOLD_MAX + 1]).unwrap();
        assert_eq!(understood(&many), None, "more than is told at once");
        assert_eq!(understood(&[&bytes[..], &[0]].concat()), None, "more than was told");
        assert_eq!(understood(&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F]), None);
        let word = postcard::to_allocvec(&vec![largest()]).unwrap();
        let mut random = Random::new(11);
        for _ in 0..5000 {
            let mut noise = word.clone();
            let at = usize::try_from(random.below(noise.len() as u64)).unwrap();
            noise[at] = u8::try_from(random.below(256)).unwrap();
            noise.truncate(usize::try_from(random.below(noise.len() as u64 + 1)).unwrap());
            let _ = understood(&noise);
        }
    }

    #[test]
    fn what_the_service_is_told_survives_its_bytes_and_its_links_come_with_their_sockets() {
        let (mut listener, mut nics) = (Listener::default(), Nics::new());
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        let fixed = vec![("10.1.0.5/24".parse().unwrap(), false)];
        let four = Begin { mac, asks: Some("box".to_owned()), fixed, seed: 1 };
        let mut obeyed = |message: &Message, files: usize| {
            let bytes = postcard::to_allocvec(message).unwrap();
            let file = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
            let files = (0..files).map(|_| file()).collect();
            let more = obey(&mut listener, &mut nics, Handed { bytes, files });
            (more, nics.len())
        };
        let begin = Message::Order(Order::Begin { link: 2, run: 1, four });
        assert_eq!(obeyed(&begin, 0), (Ok(true), 0));
        let look = Order::LookSix { link: 2, look: Look::default() };
        assert_eq!(obeyed(&Message::Order(look), 0), (Ok(true), 0));
        assert_eq!(obeyed(&Message::Open { link: 2, mac }, 3), (Ok(true), 1));
        assert!(obeyed(&Message::Open { link: 3, mac }, 2).0.is_err());
        assert_eq!(obeyed(&Message::Close { link: 2 }, 0), (Ok(true), 0));
        assert_eq!(obeyed(&Message::Release, 0), (Ok(false), 0));
        let told = listener.news(Moment(0));
        assert!(matches!(told[..], [Told::Four { link: 2, run: 1, .. }]), "{told:?}");
    }
}
