//! What was told of a link by whoever hears what is said on it, and what follows from that; and what nobody is believed who says it.

use core::net::IpAddr;

use hal::net::address::{Cidr, Mac};
use hal::net::dhcp4::client::{Phase, Trouble};
use hal::net::dhcp4::lease::Lease;
use hal::net::dhcp6::client::{Phase as Phase6, Trouble as Trouble6};
use hal::net::dhcp6::lease::{Information, is_address};
use hal::time::Moment;

use crate::net::listener::{Asked, Begin, BeginSix, Four, Look, Six, Stand};

/// IPv4 of one link.
#[derive(Debug)]
pub(super) struct Held {
    /// Which beginning is in force.
    pub(super) run: u64,
    /// What was asked for at that.
    pub(super) begin: Begin,
    /// Whether frames flow, as was told last.
    pub(super) carrier: bool,
    four: Four,
    old: Old<Four>,
}

/// What an earlier one left behind who heard on a link.
#[derive(Debug)]
struct Old<T> {
    /// What was told last is his.
    is_old: bool,
    /// What was told since, which counts once what he was promised is over.
    next: Option<T>,
    /// All that the link has is known: he had heard of a server.
    is_known: bool,
}

impl<T> Default for Old<T> {
    fn default() -> Self {
        Self { is_old: false, next: None, is_known: false }
    }
}

impl<T> Old<T> {
    /// The one who hears now is gone.
    fn leave(&mut self, is_settled: bool) {
        (self.is_old, self.next) = (true, None);
        self.is_known |= is_settled;
    }

    /// Weighs what is told against what an earlier one was promised, which holds until this one has heard of a server; what
    /// counts from now on.
    fn take(&mut self, told: T, promised: bool, is_settled: bool) -> Option<T> {
        if self.is_old && promised && !is_settled {
            self.next = Some(told);
            return None;
        }
        (self.is_old, self.next) = (false, None);
        Some(told)
    }

    /// What counts from now on where nothing is promised any more.
    fn lapse(&mut self, promised: bool) -> Option<T> {
        let next = self.next.take_if(|_| !promised)?;
        self.is_old = false;
        Some(next)
    }
}

impl Held {
    pub(super) fn new(run: u64, begin: Begin) -> Self {
        let stand = |(_, there): &(Cidr, bool)| match there {
            true => Stand::Ours { rival: None },
            false => Stand::Unknown,
        };
        let fixed = begin.fixed.iter().map(stand).collect();
        let first = Asked { phase: Phase::Init, lease: None, end: None, trouble: None };
        let four = Four { asked: begin.asks.as_ref().map(|_| first), fixed };
        Self { run, begin, carrier: false, four, old: Old::default() }
    }

    /// Somebody else hears for it from now on, who is told where it stands.
    pub(super) fn again(&mut self, run: u64, seed: u64) {
        for ((_, there), stand) in self.begin.fixed.iter_mut().zip(&self.four.fixed) {
            *there = matches!(stand, Stand::Ours { .. });
        }
        self.begin.seed = seed;
        (self.run, self.carrier) = (run, false);
        self.old.leave(is_settled(&self.four));
    }

    /// Takes what is told.
    pub(super) fn take(&mut self, now: Moment, four: Four) {
        let (promised, is_settled) = (self.lease(now).is_some(), is_settled(&four));
        if let Some(four) = self.old.take(four, promised, is_settled) {
            self.four = four;
        }
    }

    /// Looks whether what an earlier one was promised is over.
    pub(super) fn lapse(&mut self, now: Moment) {
        let promised = self.lease(now).is_some();
        if let Some(four) = self.old.lapse(promised) {
            self.four = four;
        }
    }

    /// Whether anybody could have heard that at this moment.
    pub(super) fn could_be(&self, now: Moment, four: &Four) -> bool {
        let asked = four.asked.as_ref();
        let lease = asked.and_then(|asked| asked.lease.as_ref().map(|lease| (lease, asked.end)));
        four.fixed.len() == self.begin.fixed.len()
            && asked.is_some() == self.begin.asks.is_some()
            && lease.is_none_or(|(lease, end)| {
                lease.is_sound()
                    && end.is_none_or(|end| end <= now.after(millis(lease.seconds)))
                    && end.is_some() == (lease.seconds != u32::MAX)
            })
    }

    /// Whether frames must be heard for it.
    pub(super) fn listens(&self) -> bool {
        self.begin.asks.is_some() || !self.begin.fixed.is_empty()
    }

    /// The hardware address that it speaks with.
    pub(super) fn mac(&self) -> Mac {
        self.begin.mac
    }

    /// What a server promised, and may be used at this moment.
    pub(super) fn lease(&self, now: Moment) -> Option<&Lease> {
        let end = self.end();
        self.any_lease().filter(|_| end.is_none_or(|end| now < end))
    }

    /// The same, its time being none of the question's.
    pub(super) fn any_lease(&self) -> Option<&Lease> {
        self.four.asked.as_ref()?.lease.as_ref()
    }

    /// When that ends, where it does.
    pub(super) fn end(&self) -> Option<Moment> {
        self.four.asked.as_ref()?.end
    }

    /// The addresses that the link should have now.
    pub(super) fn addresses(&self, now: Moment) -> Vec<Cidr> {
        let ours = self.stands().filter(|(_, stand)| matches!(stand, Stand::Ours { .. }));
        let leased = self.lease(now).map(|lease| lease.address);
        ours.map(|(address, _)| address).chain(leased).collect()
    }

    fn stands(&self) -> impl Iterator<Item = (Cidr, Stand)> {
        let fixed = self.begin.fixed.iter().map(|(address, _)| *address);
        fixed.zip(self.four.fixed.iter().copied())
    }

    /// Whether addresses that the link has and should not have may be taken away: not before a server was heard or a
    /// lease was lost, so that a program that starts again leaves running connections alone.
    pub(super) fn is_settled(&self) -> bool {
        self.old.is_known || is_settled(&self.four)
    }

    /// Where the DHCP client is.
    pub(super) fn phase(&self) -> Option<Phase> {
        self.four.asked.as_ref().map(|asked| asked.phase)
    }

    fn trouble(&self) -> Option<Trouble> {
        self.four.asked.as_ref()?.trouble
    }

    /// Whether all that is wrong is that no server ever answered.
    pub(super) fn hears_nobody(&self) -> bool {
        self.taken().is_none() && matches!(self.trouble(), Some(Trouble::Silence { .. }))
    }

    /// What is wrong, for a person.
    pub(super) fn problem(&self) -> Option<String> {
        self.taken().or_else(|| trouble(self.trouble()?))
    }

    /// That somebody else has a fixed address, for a person.
    fn taken(&self) -> Option<String> {
        let taken = |(address, stand): (Cidr, Stand)| match stand {
            Stand::Taken { by } | Stand::Ours { rival: Some(by) } => Some((address.address(), by)),
            _ => None,
        };
        let (own, machine) = self.stands().find_map(taken)?;
        Some(format!("the address {own} is also used by the machine {machine}: change one of them"))
    }
}

fn millis(seconds: u32) -> u64 {
    u64::from(seconds) * 1000
}

fn is_settled(four: &Four) -> bool {
    four.asked.as_ref().is_none_or(|asked| {
        let is_silence = |trouble| matches!(trouble, Trouble::Silence { .. });
        asked.lease.is_some() || asked.trouble.is_some_and(|trouble| !is_silence(trouble))
    })
}

/// DHCP of IPv6 of one link.
#[derive(Debug)]
pub(super) struct Held6 {
    /// Which beginning is in force.
    pub(super) run: u64,
    /// Who asks.
    pub(super) begin: BeginSix,
    /// How the link stands, as was told last.
    pub(super) look: Look,
    six: Six,
    old: Old<Six>,
}

impl Held6 {
    pub(super) fn new(run: u64, begin: BeginSix) -> Self {
        Self { run, begin, look: Look::default(), six: Six::default(), old: Old::default() }
    }

    /// Somebody else hears for it from now on.
    pub(super) fn again(&mut self, run: u64, seed: u64) {
        self.begin.seed = seed;
        (self.run, self.look) = (run, Look::default());
        self.old.leave(self.six.address.is_some() || is_told(&self.six));
    }

    /// Takes what is told.
    pub(super) fn take(&mut self, now: Moment, six: Six) {
        let knows = six.address.is_some() || six.information.is_some() || is_told(&six);
        let promised = self.information(now).is_some();
        if let Some(six) = self.old.take(six, promised, knows) {
            self.six = six;
        }
    }

    /// Looks whether what an earlier one was promised is over.
    pub(super) fn lapse(&mut self, now: Moment) {
        let promised = self.information(now).is_some();
        if let Some(six) = self.old.lapse(promised) {
            self.six = six;
        }
    }

    /// Whether anybody could have heard that.
    pub(super) fn could_be(six: &Six) -> bool {
        six.address.is_none_or(is_address)
            && six.information.as_ref().is_none_or(Information::is_sound)
    }

    /// Whether frames must be heard for it.
    pub(super) fn listens(&self) -> bool {
        self.six.phase != Phase6::Off
    }

    fn holds(&self, now: Moment) -> bool {
        self.six.end.is_none_or(|end| now < end)
    }

    /// When what a server promised ends, where it does.
    pub(super) fn end(&self) -> Option<Moment> {
        self.six.end
    }

    /// The address that the link should have now: itself alone, as routers say who else is on the cable.
    pub(super) fn address(&self, now: Moment) -> Option<Cidr> {
        let address = self.six.address.filter(|_| self.holds(now))?;
        Some(Cidr::host(IpAddr::V6(address)))
    }

    /// What servers know.
    pub(super) fn information(&self, now: Moment) -> Option<&Information> {
        self.six.information.as_ref().filter(|_| self.holds(now))
    }

    /// Whether addresses that the link has and should not have may be taken away: see `Held::is_settled`.
    pub(super) fn is_settled(&self, now: Moment) -> bool {
        self.old.is_known || !self.listens() || is_told(&self.six) || self.address(now).is_some()
    }

    /// Where the client is; `None` where nobody is to be asked.
    pub(super) fn phase(&self) -> Option<Phase6> {
        Some(self.six.phase).filter(|phase| *phase != Phase6::Off)
    }

    /// What is wrong, for a person; `reached` says that the link has an address without it.
    pub(super) fn problem(&self, reached: bool) -> Option<String> {
        Some(match self.six.trouble? {
            // Routers that promise a server which is not there are common, and harm nobody who has an address.
            Trouble6::Silence { .. } if reached => return None,
            Trouble6::Silence { .. } => {
                "the router says that a DHCP server gives addresses of IPv6, but none answers: look at that server, or set a fixed address"
                    .to_owned()
            }
            Trouble6::NoAddresses => {
                "the DHCP server of IPv6 has no address left: make its range larger, or set a fixed address"
                    .to_owned()
            }
            Trouble6::Refused => {
                "the DHCP server of IPv6 refuses an address: look at its log".to_owned()
            }
            Trouble6::Duplicate { address } => format!(
                "the DHCP server gave {address}, which another machine already uses: remove it there"
            ),
            Trouble6::Expired => {
                "the DHCP lease of IPv6 ran out and no server renewed it".to_owned()
            }
            _ => return None,
        })
    }
}

fn is_told(six: &Six) -> bool {
    six.trouble.is_some_and(|trouble| !matches!(trouble, Trouble6::Silence { .. }))
}

/// What went wrong with DHCP, for a person.
fn trouble(trouble: Trouble) -> Option<String> {
    Some(match trouble {
        Trouble::Silence { .. } => {
            "no DHCP server answers: check the cable and the VLAN, or set a fixed address"
                .to_owned()
        }
        Trouble::Refused { server: Some(server) } => {
            format!("the DHCP server {server} refuses an address: look at its log")
        }
        Trouble::Refused { server: None } => {
            "a DHCP server refuses an address: look at its log".to_owned()
        }
        Trouble::Duplicate { address, machine } => format!(
            "the DHCP server gave {address}, which the machine {machine} already uses: remove it there"
        ),
        Trouble::Expired => "the DHCP lease ran out and no server renewed it".to_owned(),
        _ => return None,
    })
}
