//! What should be, what is, and what to do about it: the brain of the network, without system and clock.
//!
//! It compares what the page wants with what the system says, and asks for one step at a time. It is looked at again
//! after every change, so that nothing depends on events that might be missed.

use std::collections::{BTreeMap, BTreeSet};

use hal::net::address::Cidr;
use hal::net::chance::Chance;
use hal::net::config::{Checked, Ipv4, Ipv6, Link, NicChoice};
use hal::net::facts::{AddressFacts, LinkFacts, LinkKind, Route};
use hal::net::ndisc::Advice;
use hal::net::nic::{Change, Event, Ipv6Mode, NetError};
use hal::time::Moment;

use crate::net::listener::{Begin, Order, Told};
use crate::net::names::{Advised, Resolver};
use crate::net::state::State;

/// What was told of a link.
mod held;
/// Which addresses and routes there should be.
mod routes;
/// DHCP of IPv6 on the links of the page.
mod six;
/// The state in words.
mod tell;

use held::{Held, Held6};

/// How long a step that failed is left alone, at first and at most.
const REFUSED_MILLIS_MIN: u64 = 1000;
const REFUSED_MILLIS_MAX: u64 = 30_000;
/// The first link's way to everywhere, and what each further one adds.
const METRIC_FIRST: u32 = 100;
const METRIC_STEP: u32 = 10;

/// What the system says.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Every link.
    pub links: Vec<LinkFacts>,
    /// Every address.
    pub addresses: Vec<AddressFacts>,
    /// The routes that were made here.
    pub routes: Vec<Route>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make this change; then say by `done` how it went.
    Change(Change),
    /// Open this link below IP; then say by `opened` how it went.
    Open(u32),
    /// Tell this to who hears what is said on links, in this order; then say by `told` what he says.
    Order(Order),
}

/// A step that failed.
#[derive(Debug)]
struct Refusal {
    until: Moment,
    millis: u64,
    why: String,
}

/// The network of one machine.
#[derive(Debug)]
pub struct Machine {
    config: Checked,
    host_name: String,
    chance: Chance,
    seen: Seen,
    ports: BTreeMap<u32, Held>,
    six: BTreeMap<u32, Held6>,
    /// How many links have begun.
    runs: u64,
    open: BTreeSet<u32>,
    /// Links whose IPv6 was set as it should be, with what its ways to everywhere count.
    ipv6: BTreeMap<u32, u32>,
    /// Links that were made here.
    made: BTreeSet<String>,
    /// Links that were given another MTU, and the one from before.
    resized: BTreeMap<u32, u32>,
    refused: BTreeMap<String, Refusal>,
    advised: Advised,
    orders: Vec<Order>,
}

/// A link of the page, and what it is at this moment.
struct Plan {
    link: Link,
    metric: u32,
    facts: Option<LinkFacts>,
}

impl Machine {
    /// A network that is to become as the page says. The seed spreads waiting times.
    pub fn new(config: Checked, host_name: &str, seed: u64) -> Self {
        Self {
            config,
            host_name: host_name.to_owned(),
            chance: Chance::new(seed),
            seen: Seen::default(),
            ports: BTreeMap::new(),
            six: BTreeMap::new(),
            runs: 0,
            open: BTreeSet::new(),
            ipv6: BTreeMap::new(),
            made: BTreeSet::new(),
            resized: BTreeMap::new(),
            refused: BTreeMap::new(),
            advised: Advised::default(),
            orders: Vec::new(),
        }
    }

    /// Another page from now on. What both pages say of a link stays as it is.
    pub fn configure(&mut self, config: Checked) {
        let before = self.plans();
        self.config = config;
        let after = self.plans();
        let same = |index: u32| {
            let of = |plans: &[Plan]| {
                let plan = plans.iter().find(|plan| plan.index() == Some(index));
                plan.map(|plan| (plan.link.clone(), plan.metric))
            };
            of(&before).is_some() && of(&before) == of(&after)
        };
        let gone: Vec<u32> = self.ports.keys().copied().filter(|index| !same(*index)).collect();
        for index in gone {
            self.end(index);
            self.ipv6.remove(&index);
        }
        self.refused.clear();
    }

    /// A link is nobody's business any more.
    fn end(&mut self, link: u32) {
        self.orders.extend(self.ports.remove(&link).map(|_| Order::End { link }));
        self.end_six(link);
    }

    /// Which beginning the next one is.
    fn next_run(&mut self) -> u64 {
        self.runs += 1;
        self.runs
    }

    /// Looks at what is.
    pub fn look(&mut self, seen: Seen) {
        self.seen = seen;
        let there: BTreeSet<u32> = self.seen.links.iter().map(|link| link.index).collect();
        let known: Vec<u32> = self.ports.keys().chain(self.six.keys()).copied().collect();
        known.into_iter().filter(|index| !there.contains(index)).for_each(|index| self.end(index));
        self.open.retain(|index| there.contains(index));
        self.ipv6.retain(|index, _| there.contains(index));
        self.resized.retain(|index, _| there.contains(index));
        self.advised.keep(|index| there.contains(&index));
        for plan in self.plans() {
            let Some(facts) = plan.facts else { continue };
            // A bond takes the address of its first NIC: what was begun with another is begun again.
            if self.ports.get(&facts.index).is_some_and(|port| Some(port.mac()) != facts.mac) {
                self.end(facts.index);
                self.open.remove(&facts.index);
            }
            let carrier = facts.up && facts.carrier;
            if carrier && !self.ports.contains_key(&facts.index) {
                self.begin(&plan.link, &facts);
            }
            let open = self.open.contains(&facts.index);
            if let Some(port) = self.ports.get_mut(&facts.index) {
                let (link, carrier) = (facts.index, carrier && (open || !port.listens()));
                if carrier != port.carrier {
                    port.carrier = carrier;
                    self.orders.push(Order::Carrier { link, carrier });
                }
            }
            self.look_six(&plan.link, &facts);
        }
    }

    fn begin(&mut self, link: &Link, facts: &LinkFacts) {
        let Some(mac) = facts.mac else { return };
        let there: Vec<Cidr> = self.addresses_of(facts.index).collect();
        let v4 = link.addresses.iter().filter(|address| address.address().is_ipv4());
        let four = Begin {
            mac,
            asks: (link.ipv4() == Ipv4::Dhcp).then(|| self.host_name.clone()),
            fixed: v4.map(|address| (*address, there.contains(address))).collect(),
            seed: self.chance.number(),
        };
        let (link, run) = (facts.index, self.next_run());
        self.ports.insert(link, Held::new(run, four.clone()));
        self.orders.push(Order::Begin { link, run, four });
    }

    /// Somebody else hears from now on: nothing is open to him yet, and he is told everything.
    pub fn heard_anew(&mut self) {
        self.open.clear();
        self.orders.clear();
        for (link, port) in &mut self.ports {
            self.runs += 1;
            port.again(self.runs, self.chance.number());
            let (link, run, four) = (*link, self.runs, port.begin.clone());
            self.orders.push(Order::Begin { link, run, four });
        }
        for (link, port) in &mut self.six {
            self.runs += 1;
            port.again(self.runs, self.chance.number());
            let (link, run, six) = (*link, self.runs, port.begin.clone());
            self.orders.push(Order::BeginSix { link, run, six });
        }
    }

    /// Takes what is told of a link. What was told too late, of what is nobody's business any more, is passed over.
    ///
    /// Errors: nobody can have heard that, so whoever says it is not believed in anything.
    pub fn told(&mut self, now: Moment, told: Told) -> Result<(), String> {
        let lies = |link: u32, what: &str| Err(format!("it says {what} of link number {link}"));
        match told {
            Told::Four { link, run, four } => {
                let port = self.ports.get_mut(&link).filter(|port| port.run == run);
                let Some(port) = port else { return Ok(()) };
                if !port.could_be(now, &four) {
                    return lies(link, "what no server of DHCP says");
                }
                port.take(now, four);
            }
            Told::Six { link, run, six } => {
                let port = self.six.get_mut(&link).filter(|port| port.run == run);
                let Some(port) = port else { return Ok(()) };
                if !Held6::could_be(&six) {
                    return lies(link, "what no server of DHCP for IPv6 says");
                }
                port.take(now, six);
            }
            Told::Advice { link, advice } if !advice.is_sound() => {
                return lies(link, "what no router says");
            }
            Told::Advice { link, advice } => self.advise(now, link, &advice),
            Told::Deaf { link } => drop(self.open.remove(&link)),
        }
        Ok(())
    }

    /// Addresses that a link has, but for those that the system gave it by itself.
    fn addresses_of(&self, index: u32) -> impl Iterator<Item = Cidr> {
        let given = self.seen.addresses.iter().filter(move |address| address.link == index);
        given.filter(|address| !address.automatic).map(|address| address.address)
    }

    /// Takes note of an event.
    pub fn note(&mut self, event: Event) {
        if let Event::Options { link, options } = event
            && self.believes_routers(link)
        {
            self.orders.push(Order::Options { link, options });
        }
    }

    fn believes_routers(&self, link: u32) -> bool {
        let plans = self.plans();
        plans.iter().any(|plan| plan.index() == Some(link) && plan.link.ipv6() == Ipv6::Auto)
    }

    fn advise(&mut self, now: Moment, link: u32, advice: &Advice) {
        if self.believes_routers(link) {
            self.advised.note(now, link, advice);
        }
    }

    /// How opening a link went.
    pub fn opened(&mut self, now: Moment, link: u32, result: Result<(), &NetError>) {
        match result {
            Ok(()) => {
                self.open.insert(link);
                self.refused.remove(&opening(link));
            }
            Err(error) => self.refuse(now, opening(link), error),
        }
    }

    /// Whether a link is held open.
    #[must_use]
    pub fn is_open(&self, link: u32) -> bool {
        self.open.contains(&link)
    }

    /// How a change went.
    pub fn done(&mut self, now: Moment, change: &Change, result: Result<(), &NetError>) {
        match result {
            Ok(()) => {
                self.note_done(change);
                self.refused.remove(&format!("{change:?}"));
            }
            Err(error) => self.refuse(now, format!("{change:?}"), error),
        }
    }

    fn note_done(&mut self, change: &Change) {
        match change {
            Change::Ipv6 { link, metric, .. } => {
                self.ipv6.insert(*link, *metric);
            }
            Change::AddVlan { name, .. } | Change::AddBond { name, .. } => {
                self.made.insert(name.clone());
            }
            Change::Mtu { link, .. } => {
                let before = self.seen.links.iter().find(|facts| facts.index == *link);
                if let Some(facts) = before {
                    self.resized.entry(*link).or_insert(facts.mtu);
                }
            }
            _ => {}
        }
    }

    fn refuse(&mut self, now: Moment, step: String, error: &NetError) {
        let before =
            self.refused.get(&step).map_or(REFUSED_MILLIS_MIN / 2, |refusal| refusal.millis);
        let millis = (before * 2).min(REFUSED_MILLIS_MAX);
        let refusal = Refusal { until: now.after(millis), millis, why: error.to_string() };
        log::info!("{error}; tried again in {millis} ms");
        self.refused.insert(step, refusal);
    }

    /// What to do now. Once a change was made, look again before the next call.
    pub fn act(&mut self, now: Moment) -> Vec<Action> {
        self.ports.values_mut().for_each(|port| port.lapse(now));
        self.six.values_mut().for_each(|port| port.lapse(now));
        let orders = core::mem::take(&mut self.orders);
        let mut actions: Vec<Action> = orders.into_iter().map(Action::Order).collect();
        let plans = self.plans();
        let mut changes = self.leftovers(&plans);
        for plan in &plans {
            self.raise(plan, &plans, &mut changes);
        }
        self.set_addresses(now, &plans, &mut changes);
        self.set_routes(now, &plans, &mut changes);
        let due = |step: &str| self.refused.get(step).is_none_or(|refusal| now >= refusal.until);
        changes.retain(|change| due(&format!("{change:?}")));
        actions.extend(changes.into_iter().map(Action::Change));
        let four = self.ports.iter().filter(|(_, port)| port.listens()).map(|(index, _)| *index);
        let six = self.six.iter().filter(|(_, port)| port.listens()).map(|(index, _)| *index);
        let heard: BTreeSet<u32> = four.chain(six).collect();
        let closed = heard.difference(&self.open).filter(|index| due(&opening(**index)));
        actions.extend(closed.map(|index| Action::Open(*index)));
        actions
    }

    /// When `act` has something to do at the latest, if nothing happens before.
    pub fn deadline(&self, now: Moment) -> Option<Moment> {
        // A lease ends whether or not anybody can be asked, and once.
        let four = self.ports.values().filter_map(Held::end);
        let ends = four.chain(self.six.values().filter_map(Held6::end)).filter(|end| *end > now);
        let refused = self.refused.values().map(|refusal| refusal.until);
        // A step that nobody wants any more stays refused; its time is then no reason to wake up.
        let refused = refused.filter(|until| *until > now);
        ends.chain(refused).chain(self.advised.deadline()).min()
    }

    /// How it stands.
    pub fn state(&self, now: Moment) -> State {
        self.tell(now)
    }

    /// Who answers questions for names, and where short ones are searched for.
    pub fn resolver(&self, now: Moment) -> Resolver {
        self.advised.resolver(now, &self.config, &self.leases(now), &self.known_six(now))
    }

    /// The links of the page, or every NIC where it has none.
    fn plans(&self) -> Vec<Plan> {
        let metric = |place: usize| {
            let place = u32::try_from(place).unwrap_or(u32::MAX);
            METRIC_FIRST.saturating_add(METRIC_STEP.saturating_mul(place))
        };
        if !self.config.links.is_empty() {
            let links = self.config.links.iter().enumerate();
            return links
                .map(|(place, link)| Plan {
                    link: link.clone(),
                    metric: link.metric.unwrap_or_else(|| metric(place)),
                    facts: self.find(link).cloned(),
                })
                .collect();
        }
        let nics = self.seen.links.iter().filter(|facts| {
            facts.kind == LinkKind::Hardware && facts.is_usable() && facts.master.is_none()
        });
        nics.enumerate()
            .map(|(place, facts)| Plan {
                link: Link {
                    name: facts.name.clone(),
                    nic: Some(NicChoice::Named(facts.name.clone())),
                    ..Link::default()
                },
                metric: metric(place),
                facts: Some(facts.clone()),
            })
            .collect()
    }

    /// What a link of the page is now.
    fn find(&self, link: &Link) -> Option<&LinkFacts> {
        match &link.nic {
            Some(nic) => self.nic(nic),
            None => self.seen.links.iter().find(|facts| {
                let kind = match facts.kind {
                    LinkKind::Vlan { id, .. } => {
                        link.vlan.as_ref().is_some_and(|vlan| vlan.id == id)
                    }
                    LinkKind::Bond => link.bond.is_some(),
                    _ => false,
                };
                kind && facts.name == link.name
            }),
        }
    }

    /// A NIC. Of two with one hardware address (a virtual function below a paravirtual one) the upper one is meant.
    fn nic(&self, choice: &NicChoice) -> Option<&LinkFacts> {
        let made = |facts: &LinkFacts| matches!(facts.kind, LinkKind::Vlan { .. } | LinkKind::Bond);
        let fits = self
            .seen
            .links
            .iter()
            .filter(|facts| facts.is_usable() && !made(facts) && choice.is(facts));
        fits.min_by_key(|facts| (facts.master.is_some(), facts.index))
    }

    /// Links that an earlier page wanted and this one does not, or not so.
    fn leftovers(&self, plans: &[Plan]) -> Vec<Change> {
        let ours = self.seen.links.iter().filter(|facts| {
            matches!(facts.kind, LinkKind::Vlan { .. } | LinkKind::Bond)
                && self.made.contains(&facts.name)
                && !plans.iter().any(|plan| plan.index() == Some(facts.index))
        });
        ours.map(|facts| Change::RemoveLink { link: facts.index }).collect()
    }

    /// Steps towards a link that is there and switched on.
    fn raise(&self, plan: &Plan, plans: &[Plan], changes: &mut Vec<Change>) {
        let link = &plan.link;
        let Some(facts) = &plan.facts else {
            if let Some(bond) = &link.bond {
                changes.push(Change::AddBond { name: link.name.clone(), mode: bond.mode });
            }
            if let Some(vlan) = &link.vlan {
                let carrier = plans.iter().find(|plan| plan.link.name == vlan.on);
                let on = carrier.and_then(|plan| plan.facts.as_ref()).filter(|facts| facts.up);
                changes.extend(on.map(|on| Change::AddVlan {
                    name: link.name.clone(),
                    on: on.index,
                    id: vlan.id,
                }));
            }
            return;
        };
        let members = link.bond.iter().flat_map(|bond| &bond.nics);
        for member in members.filter_map(|nic| self.nic(nic)) {
            if member.master == Some(facts.index) {
                continue;
            }
            // The kernel takes only links that are off, and switches them on itself.
            changes.push(match member.up {
                true => Change::Down { link: member.index },
                false => Change::Join { link: member.index, bond: facts.index },
            });
        }
        let metric = plan.metric;
        if self.ipv6.get(&facts.index) != Some(&metric) {
            let mode = match link.ipv6() {
                Ipv6::Auto => Ipv6Mode::Automatic,
                Ipv6::Static => Ipv6Mode::Fixed,
                Ipv6::Off => Ipv6Mode::Off,
            };
            changes.push(Change::Ipv6 { link: facts.index, mode, metric });
        }
        let port = self.ports.get(&facts.index);
        let leased = port.and_then(Held::any_lease).and_then(|lease| lease.mtu).map(u32::from);
        let before = self.resized.get(&facts.index).copied();
        if let Some(mtu) = link.mtu.or(leased).or(before).filter(|mtu| *mtu != facts.mtu) {
            changes.push(Change::Mtu { link: facts.index, mtu });
        }
        if !facts.up {
            changes.push(Change::Up { link: facts.index });
        }
    }
}

impl Plan {
    fn index(&self) -> Option<u32> {
        self.facts.as_ref().map(|facts| facts.index)
    }
}

fn opening(link: u32) -> String {
    format!("Open({link})")
}

#[cfg(test)]
mod tests;
