//! Links, addresses and routes of this machine, by rtnetlink, packet sockets and sysfs.
//!
//! It makes only routes that carry its own mark, and sees only those: what others made stays theirs.

use core::net::IpAddr;
use core::time::Duration;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use hal::net::facts::{AddressFacts, LinkFacts, Route, Way};
use hal::net::nic::{Change, Event, Ipv6Mode, NetError, NetErrorKind, Stack};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

/// The bytes of one message and of its attributes.
mod message;
/// A socket to the kernel's network part: questions, answers, events.
mod netlink;
/// One link, below IP.
mod nic;
/// What the kernel's messages say, as facts.
mod read;
/// What sysfs says of a NIC.
mod sysfs;
/// Changes as messages.
mod write;

pub use nic::LinuxNic;

use netlink::Netlink;

/// The network part of this machine's kernel, in the namespace of the thread that opened it.
#[derive(Debug)]
pub struct LinuxStack {
    questions: Netlink,
    events: Netlink,
    root: PathBuf,
}

impl LinuxStack {
    /// Opens it; that needs no privilege, changes do.
    pub fn open() -> Result<Self, NetError> {
        let opened = |errno| failed(errno, "opening a socket to the kernel's network part");
        Ok(Self {
            questions: Netlink::open(0).map_err(opened)?,
            events: Netlink::open(netlink::EVERYTHING).map_err(opened)?,
            root: PathBuf::from("/"),
        })
    }

    fn ask(
        &mut self,
        message: message::Message,
        doing: &str,
    ) -> Result<Vec<message::Reply>, NetError> {
        self.questions.ask(message).map_err(|errno| failed(errno, doing))
    }

    fn setting(&mut self, link: u32, name: &str, value: &str) -> Result<(), NetError> {
        let known = self.links()?.into_iter().find(|facts| facts.index == link);
        let Some(known) = known else {
            return Err(NetError::new(
                NetErrorKind::Gone,
                format!("there is no link number {link}"),
            ));
        };
        let folder = self.root.join("proc/sys/net/ipv6/conf").join(&known.name);
        if !folder.is_dir() {
            let what = format!("this kernel has no IPv6 on {}", known.name);
            return Err(NetError::new(NetErrorKind::Unsupported, what));
        }
        let file = folder.join(name);
        let now = std::fs::read_to_string(&file).unwrap_or_default();
        // What is so already may stand on a file system that takes no writes.
        if now.trim() == value {
            return Ok(());
        }
        std::fs::write(&file, value).map_err(|error| {
            let doing = format!("setting {}", file.display());
            failed(Errno::from_io_error(&error).unwrap_or(Errno::IO), &doing)
        })
    }

    fn set_ipv6(&mut self, link: u32, mode: Ipv6Mode, metric: u32) -> Result<(), NetError> {
        if mode == Ipv6Mode::Off {
            return match self.setting(link, "disable_ipv6", "1") {
                Err(error) if error.kind == NetErrorKind::Unsupported => Ok(()),
                done => done,
            };
        }
        let believe = if mode == Ipv6Mode::Automatic { "1" } else { "0" };
        if mode == Ipv6Mode::Automatic {
            match self.setting(link, "ra_defrtr_metric", &metric.to_string()) {
                // Kernels before 5.12 have it not: there all links count alike.
                Err(error) if error.code == Errno::NOENT.raw_os_error() => {}
                done => done?,
            }
        }
        self.setting(link, "accept_ra", believe)?;
        self.setting(link, "autoconf", believe)?;
        self.setting(link, "disable_ipv6", "0")
    }
}

impl Stack for LinuxStack {
    type Nic = LinuxNic;

    fn links(&mut self) -> Result<Vec<LinkFacts>, NetError> {
        let replies = self.ask(write::all_links(), "listing the links")?;
        let mut links: Vec<LinkFacts> = replies.iter().filter_map(read::link).collect();
        for link in &mut links {
            sysfs::complete(&self.root, link);
        }
        Ok(links)
    }

    fn addresses(&mut self) -> Result<Vec<AddressFacts>, NetError> {
        let replies = self.ask(write::all_addresses(), "listing the addresses")?;
        Ok(replies.iter().filter_map(read::address).collect())
    }

    fn routes(&mut self) -> Result<Vec<Route>, NetError> {
        let replies = self.ask(write::all_routes(), "listing the routes")?;
        Ok(replies.iter().filter_map(read::own_route).collect())
    }

    fn way(&mut self, to: IpAddr) -> Result<Way, NetError> {
        let doing = format!("looking for a route to {to}");
        let replies = self.ask(write::way(to), &doing)?;
        replies.iter().find_map(read::way).ok_or_else(|| {
            NetError::new(NetErrorKind::NoRoute, format!("there is no route to {to}"))
        })
    }

    fn change(&mut self, change: &Change) -> Result<(), NetError> {
        if let Change::Ipv6 { link, mode, metric } = *change {
            return self.set_ipv6(link, mode, metric);
        }
        let (message, doing) = write::change(change)?;
        match self.questions.ask(message) {
            Ok(_) => Ok(()),
            Err(errno) if write::is_so_already(change, errno) => Ok(()),
            Err(errno) => Err(failed(errno, &doing)),
        }
    }

    fn open(&mut self, link: u32) -> Result<LinuxNic, NetError> {
        let known = self.links()?.into_iter().find(|facts| facts.index == link);
        let Some(LinkFacts { name, mac: Some(mac), .. }) = known else {
            let what = format!("there is no Ethernet link number {link}");
            return Err(NetError::new(NetErrorKind::Gone, what));
        };
        LinuxNic::open(link, mac)
            .map_err(|errno| failed(errno, &format!("opening {name} below IP")))
    }

    fn wait(&mut self, nics: &[&LinuxNic], at_most: Duration) -> Result<Vec<Event>, NetError> {
        let sockets: Vec<BorrowedFd<'_>> = nics.iter().flat_map(|nic| nic.sockets()).collect();
        self.wait_beside(&sockets, at_most)
    }
}

impl LinuxStack {
    /// Waits until something happened, one of these files has something to be read, or the time is up.
    pub fn wait_beside(
        &mut self,
        files: &[BorrowedFd<'_>],
        at_most: Duration,
    ) -> Result<Vec<Event>, NetError> {
        let mut waited: Vec<PollFd<'_>> =
            vec![PollFd::from_borrowed_fd(self.events.as_fd(), PollFlags::IN)];
        let files = files.iter().map(|file| PollFd::from_borrowed_fd(*file, PollFlags::IN));
        waited.extend(files);
        let time = Timespec {
            tv_sec: i64::try_from(at_most.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: at_most.subsec_nanos().into(),
        };
        match rustix::event::poll(&mut waited, Some(&time)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno, "waiting for the network")),
        }
        let mut events = Vec::new();
        for reply in self.events.heard() {
            match reply {
                // The kernel had more to tell than fits: what it was is found by looking.
                Err(_) => note(&mut events, Event::Changed),
                Ok(reply) => match read::options(&reply) {
                    Some((link, options)) => {
                        events.push(Event::Options { link, options: options.to_vec() });
                    }
                    None => note(&mut events, Event::Changed),
                },
            }
        }
        Ok(events)
    }
}

/// «Look again» is said once.
fn note(events: &mut Vec<Event>, event: Event) {
    if !events.contains(&event) {
        events.push(event);
    }
}

/// An errno in words, with what was being done.
fn failed(errno: Errno, doing: &str) -> NetError {
    let (kind, words) = match errno {
        Errno::NODEV | Errno::NXIO => (NetErrorKind::Gone, "there is no such link"),
        Errno::NETDOWN => (NetErrorKind::Down, "the link is off or has no carrier"),
        Errno::NETUNREACH | Errno::HOSTUNREACH => (NetErrorKind::NoRoute, "nothing leads there"),
        Errno::PERM | Errno::ACCESS => {
            (NetErrorKind::Refused, "the system refuses; run it as root")
        }
        Errno::OPNOTSUPP | Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT => {
            (NetErrorKind::Unsupported, "this kernel or driver cannot do it")
        }
        Errno::NOBUFS | Errno::NOMEM | Errno::AGAIN | Errno::MFILE | Errno::NFILE => {
            (NetErrorKind::Exhausted, "the system is out of room for now")
        }
        Errno::INVAL | Errno::RANGE => (NetErrorKind::Misuse, "the system takes no such value"),
        Errno::BUSY => (NetErrorKind::Refused, "it is in use"),
        _ => (NetErrorKind::System, "the system says no"),
    };
    NetError::new(kind, format!("{doing}: {words}")).code(errno.raw_os_error())
}

/// Whether a path under the root is there.
fn text(root: &Path, file: &str) -> Option<String> {
    let text = std::fs::read_to_string(root.join(file)).ok()?;
    let text = text.trim();
    (!text.is_empty() && text.len() < 4096).then(|| text.to_owned())
}
