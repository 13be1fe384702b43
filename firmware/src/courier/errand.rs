//! Errands: what is said to others, and asked of them, that is no request of HTTP: a mail to its server, a record of syslog, the names
//! that DNS has for addresses.
//!
//! Whoever keeps the keys hands over what is to be sent, whole and for this one time, and gets back how it went: taken or not in some
//! words, or names. All dialogue is here. Where this process has a courier it is that one which runs the errand, else the same code runs
//! in this process. What a courier says of it is [`checked`](Came::checked) before anybody sees it.

use std::borrow::Cow;
use std::io;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Instant;

use core::net::IpAddr;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;

use firmware_web::api::views::alerts::{MailTls, SyslogBy};
use pipeline_azure::transport::names::{NameOptions, Names};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

use super::words::{nonsense, shown};

/// Mail.
mod mail;
/// Syslog.
mod syslog;
/// A connection.
mod wire;

/// Longest words on how it went: they stand beside the channel.
const WORDS_CHARS_MAX: usize = 1000;
/// Longest name that DNS has, without the dot at its end.
const NAME_BYTES_MAX: usize = 253;
/// Addresses of one errand.
pub(crate) const ADDRESSES_MAX: usize = 1024;
/// DNS servers are asked for so many names at once.
const NAMES_TOGETHER: usize = 8;
/// Longest word on what came of an errand: the names of all its addresses.
pub(super) const CAME_BYTES_MAX: usize = 512 * 1024;

/// What is to be done.
#[derive(Serialize, Deserialize)]
pub(crate) struct Errand<'a> {
    pub(crate) task: Task<'a>,
    /// For all of it.
    pub(crate) patience: Duration,
    /// Files of certificates, whole: who is trusted beside the usual authorities.
    pub(crate) authorities: Cow<'a, [Vec<u8>]>,
}

/// To whom, and what.
#[derive(Serialize, Deserialize)]
pub(crate) enum Task<'a> {
    Mail {
        host: Cow<'a, str>,
        port: u16,
        letter: Letter<'a>,
    },
    Syslog {
        host: Cow<'a, str>,
        port: u16,
        by: SyslogBy,
        record: Cow<'a, [u8]>,
    },
    /// At most [`ADDRESSES_MAX`].
    Names(Cow<'a, [IpAddr]>),
}

/// A mail, and how its server takes it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Letter<'a> {
    pub(crate) tls: MailTls,
    pub(crate) user: Option<Cow<'a, str>>,
    pub(crate) password: Option<Password<'a>>,
    pub(crate) from: Cow<'a, str>,
    pub(crate) to: Cow<'a, [String]>,
    /// Headers and body, lines ended by CR LF, none of which begins with a dot.
    pub(crate) mail: Cow<'a, [u8]>,
}

/// The password of a mail server. Where it was handed over it is overwritten when the errand is done.
#[derive(Serialize, Deserialize)]
pub(crate) struct Password<'a>(pub(crate) Cow<'a, str>);

impl Drop for Password<'_> {
    fn drop(&mut self) {
        if let Cow::Owned(password) = &mut self.0 {
            password.zeroize();
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Came {
    /// It was taken, or not: in words.
    Said(Result<String, String>),
    /// Of each address its name.
    Names(Vec<Option<String>>),
}

impl Errand<'_> {
    /// The host that is connected to, and the port; none for names.
    pub(super) fn peer(&self) -> (&str, Option<u16>) {
        match &self.task {
            Task::Mail { host, port, .. } => (host, Some(*port)),
            Task::Syslog { host, by: SyslogBy::Udp, .. } => (host, None),
            Task::Syslog { host, port, .. } => (host, Some(*port)),
            Task::Names(_) => ("", None),
        }
    }

    /// The same, borrowed, for as long as is left.
    pub(super) fn within(&self, patience: Duration) -> Errand<'_> {
        Errand { task: self.task.again(), patience, authorities: (&*self.authorities).into() }
    }

    /// How many names are asked for; `None` where it is something else.
    pub(super) fn names(&self) -> Option<usize> {
        match &self.task {
            Task::Names(addresses) => Some(addresses.len()),
            _ => None,
        }
    }

    /// Runs it in this process.
    pub(super) fn run(&self, names: &Names) -> Came {
        let ways = wire::Ways { names, authorities: &self.authorities, patience: self.patience };
        match &self.task {
            Task::Mail { host, port, letter } => {
                Came::Said(mail::send(&ways, host, *port, letter)).cut()
            }
            Task::Syslog { host, port, by, record } => {
                Came::Said(syslog::send(&ways, host, *port, *by, record)).cut()
            }
            Task::Names(addresses) => Came::Names(ask_names(names, addresses, self.patience)),
        }
    }
}

impl Task<'_> {
    /// The same, borrowed: what is secret of it lies in one place.
    fn again(&self) -> Task<'_> {
        match self {
            Task::Mail { host, port, letter } => {
                Task::Mail { host: (&**host).into(), port: *port, letter: letter.again() }
            }
            Task::Syslog { host, port, by, record } => Task::Syslog {
                host: (&**host).into(),
                port: *port,
                by: *by,
                record: (&**record).into(),
            },
            Task::Names(addresses) => Task::Names((&**addresses).into()),
        }
    }
}

impl Letter<'_> {
    fn again(&self) -> Letter<'_> {
        let password = self.password.as_ref();
        Letter {
            tls: self.tls,
            user: self.user.as_deref().map(Cow::Borrowed),
            password: password.map(|password| Password(Cow::Borrowed(&*password.0))),
            from: (&*self.from).into(),
            to: (&*self.to).into(),
            mail: (&*self.mail).into(),
        }
    }
}

impl Came {
    /// As long as words may be, and such as move no cursor.
    fn cut(self) -> Self {
        let cut = |words: String| shown(&words, WORDS_CHARS_MAX);
        match self {
            Self::Said(Ok(words)) => Self::Said(Ok(cut(words))),
            Self::Said(Err(words)) => Self::Said(Err(cut(words))),
            Self::Names(names) => Self::Names(names),
        }
    }

    /// The same, where it is what a courier could have said to an errand for so many names, or for none.
    pub(super) fn checked(self, names: Option<usize>) -> io::Result<Self> {
        match (self, names) {
            (said @ Self::Said(_), None) => Ok(said.cut()),
            (Self::Names(all), Some(count))
                if all.len() == count && all.iter().flatten().all(|name| is_name(name)) =>
            {
                Ok(Self::Names(all))
            }
            _ => Err(nonsense()),
        }
    }
}

/// Runs an errand: by the courier of this process, or here.
fn run(errand: &Errand<'_>) -> Result<Came, String> {
    static HERE: LazyLock<Names> = LazyLock::new(|| Names::new(NameOptions::default()));
    match super::KEPT.get() {
        Some(courier) => super::client::run(courier, errand),
        None => Ok(errand.run(&HERE)),
    }
}

/// Sends a message; how it went, in words.
pub(crate) fn send(errand: &Errand<'_>) -> Result<String, String> {
    match run(errand)? {
        Came::Said(said) => said,
        Came::Names(_) => Err("it was not sent".to_owned()),
    }
}

/// The names that DNS servers give for these addresses, each waited for no longer than this. Nobody proves that they are true.
pub(crate) fn names_of(addresses: &[IpAddr], each: Duration) -> Vec<Option<String>> {
    let mut all = Vec::new();
    for addresses in addresses.chunks(ADDRESSES_MAX) {
        let turns = addresses.len().div_ceil(NAMES_TOGETHER);
        let patience = each * u32::try_from(turns).unwrap_or(u32::MAX);
        let task = Task::Names(addresses.into());
        let came = run(&Errand { task, patience, authorities: Cow::Borrowed(&[]) });
        match came {
            Ok(Came::Names(names)) => all.extend(names),
            // A name is nice to have.
            Ok(_) | Err(_) => all.extend(addresses.iter().map(|_| None)),
        }
    }
    all
}

/// Asks for all of them, some at once, each with an even share of the time.
fn ask_names(names: &Names, addresses: &[IpAddr], patience: Duration) -> Vec<Option<String>> {
    let deadline = Instant::now() + patience;
    let turns = u32::try_from(addresses.len().div_ceil(NAMES_TOGETHER)).unwrap_or(u32::MAX);
    let each = patience / turns.max(1);
    let (next, found) = (AtomicUsize::new(0), Mutex::new(vec![None; addresses.len()]));
    let work = || {
        while let at = next.fetch_add(1, Ordering::Relaxed)
            && let Some(address) = addresses.get(at)
        {
            let left = deadline.saturating_duration_since(Instant::now());
            let name = names.name_of(*address, each.min(left)).filter(|name| is_name(name));
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found[at] = name;
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..NAMES_TOGETHER.min(addresses.len()) {
            let thread = std::thread::Builder::new().stack_size(super::apart::STACK_BYTES);
            // Those that were started do the rest, and this one.
            if thread.spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Letters of hosts' names, as long as DNS has them.
fn is_name(name: &str) -> bool {
    let is_fine = |letter: u8| letter.is_ascii_alphanumeric() || b"-_.".contains(&letter);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_fine)
}

#[cfg(test)]
mod tests;
