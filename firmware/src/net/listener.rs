//! Who hears what strangers say on a cable: DHCP of both kinds, ARP, and what routers say of names. It is told of links by plain
//! [`Order`]s, and tells by plain [`Told`]s what came of them; so it may be another process than who keeps the network.
//!
//! It never looks at a clock, and knows neither the system nor anything else of the machine.

use core::net::Ipv6Addr;
use std::collections::BTreeMap;

use hal::net::address::{Cidr, Mac};
use hal::net::dhcp4::client::{Phase, Trouble};
use hal::net::dhcp4::lease::Lease;
use hal::net::dhcp6::client::{Phase as Phase6, Trouble as Trouble6};
use hal::net::dhcp6::lease::Information;
use hal::net::facts::Managed;
use hal::net::ndisc::{Advice, read_advice};
use hal::time::Moment;
use serde::{Deserialize, Serialize};

use crate::net::port::Port;
use crate::net::port6::Port6;

/// More than this of what routers say is not kept until it is told: they say it again.
const ADVICE_MAX: usize = 64;

/// What is to be heard and said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// IPv4 of a link begins, anew where it was there already.
    Begin {
        /// The link.
        link: u32,
        /// Which beginning this is: what is told says so.
        run: u64,
        /// What is looked for there.
        four: Begin,
    },
    /// Frames flow on a link, or no more.
    Carrier {
        /// The link.
        link: u32,
        /// Whether they flow.
        carrier: bool,
    },
    /// IPv4 of a link is nobody's business any more.
    End {
        /// The link.
        link: u32,
    },
    /// DHCP of IPv6 of a link begins, anew where it was there already.
    BeginSix {
        /// The link.
        link: u32,
        /// Which beginning this is.
        run: u64,
        /// Who asks.
        six: BeginSix,
    },
    /// How IPv6 stands on a link.
    LookSix {
        /// The link.
        link: u32,
        /// How it stands.
        look: Look,
    },
    /// IPv6 of a link is nobody's business any more.
    EndSix {
        /// The link.
        link: u32,
    },
    /// A router said something of names; the options of its message, as they came.
    Options {
        /// The link.
        link: u32,
        /// The options.
        options: Vec<u8>,
    },
}

/// What is looked for on a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// The hardware address of the link.
    pub mac: Mac,
    /// The machine's name, where a server is asked for an address.
    pub asks: Option<String>,
    /// Fixed addresses, and whether the link has each already: what an earlier run gave it needs no second look.
    pub fixed: Vec<(Cidr, bool)>,
    /// Spreads waiting times.
    pub seed: u64,
}

/// Who asks a server of IPv6.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeginSix {
    /// The hardware address of the link.
    pub mac: Mac,
    /// Which of several links with that address: the tag of a VLAN.
    pub tag: u32,
    /// The machine's name.
    pub host_name: String,
    /// Spreads waiting times.
    pub seed: u64,
}

/// How IPv6 stands on a link, as the system says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// What routers leave to servers.
    pub managed: Managed,
    /// The address of the cable that questions come from; none while the system looks whether somebody has it.
    pub source: Option<Ipv6Addr>,
    /// Addresses that somebody else has too.
    pub taken: Vec<Ipv6Addr>,
    /// Whether frames flow.
    pub carrier: bool,
}

/// What came of a link, or was heard on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// How IPv4 stands.
    Four {
        /// The link.
        link: u32,
        /// Which beginning it is of.
        run: u64,
        /// How it stands.
        four: Four,
    },
    /// How DHCP of IPv6 stands.
    Six {
        /// The link.
        link: u32,
        /// Which beginning it is of.
        run: u64,
        /// How it stands.
        six: Six,
    },
    /// A router named name servers or search domains.
    Advice {
        /// The link.
        link: u32,
        /// What it said.
        advice: Advice,
    },
    /// Nothing is heard on a link any more.
    Deaf {
        /// The link.
        link: u32,
    },
}

/// IPv4 of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Four {
    /// Where a server is asked: how far that is.
    pub asked: Option<Asked>,
    /// The fixed addresses, in their order.
    pub fixed: Vec<Stand>,
}

/// How far a server has been asked for an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Where the client is.
    pub phase: Phase,
    /// What a server promised.
    pub lease: Option<Lease>,
    /// When that ends, where it does.
    pub end: Option<Moment>,
    /// What went wrong last.
    pub trouble: Option<Trouble>,
}

/// How a fixed address stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stand {
    /// It is not known yet whether somebody has it.
    Unknown,
    /// Nobody has it; or somebody came later, and was told that it is ours.
    Ours {
        /// Who came.
        rival: Option<Mac>,
    },
    /// Somebody has it.
    Taken {
        /// Who.
        by: Mac,
    },
}

/// DHCP of IPv6 of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Six {
    /// Where the client is.
    pub phase: Phase6,
    /// The address that a server promised.
    pub address: Option<Ipv6Addr>,
    /// When that ends, where it does; what servers know then ends too.
    pub end: Option<Moment>,
    /// What servers know.
    pub information: Option<Information>,
    /// What went wrong last.
    pub trouble: Option<Trouble6>,
}

impl Default for Six {
    fn default() -> Self {
        let phase = Phase6::Off;
        Self { phase, address: None, end: None, information: None, trouble: None }
    }
}

/// One kind of IP on one link: who hears for it, and what was told of it.
#[derive(Debug)]
struct Heard<P, T> {
    run: u64,
    port: P,
    told: Option<T>,
}

/// Frames to be sent, each on its link.
pub type Frames = Vec<(u32, Vec<u8>)>;

/// Those who hear, by link.
#[derive(Debug, Default)]
pub struct Listener {
    four: BTreeMap<u32, Heard<Port, Four>>,
    six: BTreeMap<u32, Heard<Port6, Six>>,
    advice: Vec<(u32, Advice)>,
    frames: Frames,
}

impl Listener {
    /// Does as it is told.
    pub fn take(&mut self, now: Moment, order: Order) {
        match order {
            Order::Begin { link, run, four } => {
                self.four.insert(link, Heard { run, port: Port::new(&four, now), told: None });
            }
            Order::Carrier { link, carrier } => {
                if let Some(heard) = self.four.get_mut(&link) {
                    heard.port.carrier(carrier, now);
                }
            }
            Order::End { link } => drop(self.four.remove(&link)),
            Order::BeginSix { link, run, six } => {
                self.six.insert(link, Heard { run, port: Port6::new(six), told: None });
            }
            Order::LookSix { link, look } => {
                if let Some(heard) = self.six.get_mut(&link) {
                    heard.port.look(look);
                }
            }
            Order::EndSix { link } => drop(self.six.remove(&link)),
            Order::Options { link, options } => {
                let room = ADVICE_MAX.saturating_sub(self.advice.len());
                let advice = read_advice(&options).into_iter().take(room);
                self.advice.extend(advice.map(|advice| (link, advice)));
            }
        }
    }

    /// Hears a frame of a link.
    pub fn hear(&mut self, now: Moment, link: u32, frame: &[u8]) {
        if let Some(heard) = self.six.get_mut(&link) {
            heard.port.hear(now, frame);
        }
        if let Some(heard) = self.four.get_mut(&link) {
            let answers = heard.port.hear(now, frame);
            self.frames.extend(answers.into_iter().map(|frame| (link, frame)));
        }
    }

    /// Frames to send now.
    pub fn poll(&mut self, now: Moment) -> Frames {
        let mut frames = core::mem::take(&mut self.frames);
        for (link, heard) in &mut self.four {
            frames.extend(heard.port.poll(now).into_iter().map(|frame| (*link, frame)));
        }
        for (link, heard) in &mut self.six {
            frames.extend(heard.port.poll(now).into_iter().map(|frame| (*link, frame)));
        }
        frames
    }

    /// What is not as it was told last.
    pub fn news(&mut self, now: Moment) -> Vec<Told> {
        let mut news = Vec::new();
        for (link, heard) in &mut self.four {
            let (link, run, four) = (*link, heard.run, heard.port.told());
            if heard.told.as_ref() != Some(&four) {
                heard.told = Some(four.clone());
                news.push(Told::Four { link, run, four });
            }
        }
        for (link, heard) in &mut self.six {
            let (link, run, six) = (*link, heard.run, heard.port.told(now));
            if heard.told.as_ref() != Some(&six) {
                heard.told = Some(six.clone());
                news.push(Told::Six { link, run, six });
            }
        }
        let advice = self.advice.drain(..);
        news.extend(advice.map(|(link, advice)| Told::Advice { link, advice }));
        news
    }

    /// When `poll` has something to do at the latest.
    pub fn deadline(&self, now: Moment) -> Option<Moment> {
        let four = self.four.values().filter_map(|heard| heard.port.deadline(now));
        let six = self.six.values().filter_map(|heard| heard.port.deadline(now));
        four.chain(six).min()
    }

    /// Frames that give leased addresses back, for an orderly end.
    pub fn release(&mut self, now: Moment) -> Frames {
        let four = self.four.iter_mut().map(|(link, heard)| (*link, heard.port.release(now)));
        let six = self.six.iter_mut().map(|(link, heard)| (*link, heard.port.release(now)));
        four.chain(six).filter_map(|(link, frame)| Some((link, frame?))).collect()
    }
}
