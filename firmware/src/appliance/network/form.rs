//! Network settings as a person types them: one question after the other, and the page that comes of the answers. Pure.
//!
//! Nothing typed here is used before all of it fits together.

use core::net::IpAddr;
use core::str::FromStr;

use hal::net::address::Cidr;
use hal::net::config::{Ipv4, Ipv6, Link, Network, NicChoice, Vlan};

use super::Source;
use crate::appliance::board::{Answer, Kind, Question};
use crate::net::state::{LinkState, State};

/// What a name of a link can have in Linux.
const NAME_BYTES_MAX: usize = 15;

/// Which question is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Link,
    Way,
    Addresses,
    Gateways,
    Dns,
    Vlan,
    Mtu,
    Look,
}

/// What was typed so far, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Draft {
    /// Its place on the page.
    link: usize,
    fixed: bool,
    addresses: String,
    gateways: String,
    dns: String,
    vlan: String,
    mtu: String,
}

/// What comes of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// There is another question.
    Ask,
    /// The person goes back.
    Leave,
    /// What was typed before is to be forgotten.
    Forget,
    /// This is to be tried.
    Try(Box<Network>),
}

/// The dialogue.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    page: Network,
    words: Vec<String>,
    source: Source,
    stage: Stage,
    draft: Draft,
    complaint: Option<String>,
}

impl Form {
    /// A dialogue about a page, where it comes from, and how the network stands.
    pub(crate) fn new(page: &Network, source: Source, state: &State) -> Self {
        let names = format!("name servers: {}", state.dns.join(" "));
        let from = format!("These settings are {}.", source.words());
        let words = state.links.iter().map(LinkState::line).chain([names, from]).collect();
        Self {
            page: whole(page, state),
            words,
            source,
            stage: Stage::Link,
            draft: Draft::default(),
            complaint: None,
        }
    }

    /// The open question.
    pub(crate) fn question(&self) -> Question {
        let text = |title: &str, words: &str, given: &str| {
            (title.to_owned(), vec![words.to_owned()], Kind::Text(given.to_owned()))
        };
        let name = self.page.links.get(self.draft.link).map_or("", |link| link.name.as_str());
        let draft = &self.draft;
        let (title, words, kind) = match self.stage {
            Stage::Link => {
                ("The network".to_owned(), self.words.clone(), Kind::Choice(self.choices()))
            }
            Stage::Way => {
                let choices = ["by DHCP, and as routers say", "fixed ones"].map(str::to_owned);
                (
                    format!("How does {name} get its addresses?"),
                    Vec::new(),
                    Kind::Choice(choices.into()),
                )
            }
            Stage::Addresses => text(
                "Which addresses, with their prefixes?",
                "For example 10.0.0.5/24, or 10.0.0.5/24 fd00::5/64.",
                &draft.addresses,
            ),
            Stage::Gateways => text(
                "Which router leads everywhere else?",
                "For example 10.0.0.1. Empty: nothing beyond these networks is reached by this link.",
                &draft.gateways,
            ),
            Stage::Dns => text(
                "Which DNS servers?",
                "At most three. Empty: those that DHCP and routers name.",
                &draft.dns,
            ),
            Stage::Vlan => text(
                "Which VLAN?",
                "The tag that the switch's port wants, 1 to 4094. Empty: none, which is usual.",
                &draft.vlan,
            ),
            Stage::Mtu => text(
                "Which MTU?",
                "The largest packet, in bytes. Empty: the usual one, 1500 on most networks.",
                &draft.mtu,
            ),
            Stage::Look => {
                let (words, choices) = match self.checked() {
                    Ok(page) => (summary(&page), vec!["use them now", "change them", "back"]),
                    Err(problems) => (problems, vec!["change them", "back"]),
                };
                let choices = choices.into_iter().map(str::to_owned).collect();
                ("Use these settings?".to_owned(), words, Kind::Choice(choices))
            }
        };
        let complaint = self.complaint.iter().cloned();
        Question { title, words: complaint.chain(words).collect(), kind }
    }

    fn choices(&self) -> Vec<String> {
        let links = self.page.links.iter().map(|link| format!("change {}", link.name));
        let forget = (self.source == Source::Console)
            .then(|| "forget what was typed here: lifeboat.toml counts, or DHCP".to_owned());
        links.chain(forget).chain(["back".to_owned()]).collect()
    }

    /// Takes an answer.
    pub(crate) fn take(&mut self, answer: Answer) -> Turn {
        self.complaint = None;
        match (self.stage, answer) {
            (Stage::Link, Answer::Chosen(place)) => return self.choose(place),
            (Stage::Link, _) => return Turn::Leave,
            (Stage::Way, Answer::Chosen(place)) => {
                self.draft.fixed = place == 1;
                self.stage = if self.draft.fixed { Stage::Addresses } else { Stage::Dns };
            }
            (Stage::Look, Answer::Chosen(place)) => return self.decide(place),
            (Stage::Way | Stage::Look, _) => self.stage = Stage::Link,
            (_, Answer::Typed(text)) => self.typed(text.trim().to_owned()),
            (_, _) => self.stage = Stage::Link,
        }
        Turn::Ask
    }

    fn choose(&mut self, place: usize) -> Turn {
        if let Some(link) = self.page.links.get(place) {
            self.draft = draft(&self.page, place, link);
            self.stage = Stage::Way;
            return Turn::Ask;
        }
        let forget = self.source == Source::Console && place == self.page.links.len();
        if forget { Turn::Forget } else { Turn::Leave }
    }

    fn decide(&mut self, place: usize) -> Turn {
        match (self.checked(), place) {
            (Ok(page), 0) => return Turn::Try(Box::new(page)),
            (Ok(_), 1) | (Err(_), 0) => self.stage = Stage::Way,
            _ => self.stage = Stage::Link,
        }
        Turn::Ask
    }

    /// A line was typed: kept where it can be read, asked for again where not.
    fn typed(&mut self, text: String) {
        let draft = &mut self.draft;
        let (field, next, complaint) = match self.stage {
            Stage::Addresses => {
                let read = list::<Cidr>(&text, "is no address with a prefix");
                let missing = "at least one address is needed".to_owned();
                let complaint = match read {
                    Ok(list) if list.is_empty() => Some(missing),
                    read => read.err(),
                };
                (&mut draft.addresses, Stage::Gateways, complaint)
            }
            Stage::Gateways => {
                let read = list::<IpAddr>(&text, "is no address");
                (&mut draft.gateways, Stage::Dns, read.err())
            }
            Stage::Dns => {
                let read = list::<IpAddr>(&text, "is no address");
                (&mut draft.dns, Stage::Vlan, read.err())
            }
            Stage::Vlan => (&mut draft.vlan, Stage::Mtu, number::<u16>(&text).err()),
            _ => (&mut draft.mtu, Stage::Look, number::<u32>(&text).err()),
        };
        *field = text;
        if complaint.is_none() {
            self.stage = next;
        }
        self.complaint = complaint;
    }

    /// The page with what was typed; or everything that is wrong with it.
    fn checked(&self) -> Result<Network, Vec<String>> {
        let page = self.result().map_err(|problem| vec![problem])?;
        page.clone()
            .check()
            .map(|_| page)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    fn result(&self) -> Result<Network, String> {
        let draft = &self.draft;
        let mut page = self.page.clone();
        page.dns = list(&draft.dns, "is no address")?;
        let chosen = page.links.get(draft.link).cloned().ok_or("the link is gone")?;
        let settings = self.settings()?;
        let id = number::<u16>(&draft.vlan)?;
        let carrier = match &chosen.vlan {
            Some(vlan) => page.links.iter().position(|link| link.name == vlan.on),
            None => Some(draft.link),
        };
        let carrier = carrier.ok_or("the link that carries the VLAN is gone")?;
        match (id, chosen.vlan.is_some()) {
            (None, false) => dress(page.links.get_mut(draft.link), &settings),
            (None, true) => {
                dress(page.links.get_mut(carrier), &settings);
                page.links.remove(draft.link);
                let to = page.links.get(carrier).map(|link| link.name.clone());
                rename(&mut page, &chosen.name, &to.unwrap_or_default());
            }
            (Some(id), true) => {
                let on = page.links.get(carrier).map(|link| link.name.clone()).unwrap_or_default();
                let name = vlan_name(&on, id);
                if let Some(link) = page.links.get_mut(draft.link) {
                    (link.name, link.vlan) = (name.clone(), Some(Vlan { on, id }));
                }
                dress(page.links.get_mut(draft.link), &settings);
                rename(&mut page, &chosen.name, &name);
            }
            (Some(id), false) => {
                let bare = Link {
                    ipv4: Some(Ipv4::Off),
                    ipv6: Some(Ipv6::Off),
                    mtu: settings.mtu,
                    ..Link::default()
                };
                dress(page.links.get_mut(carrier), &bare);
                let vlan = Some(Vlan { on: chosen.name.clone(), id });
                page.links.retain(|link| link.vlan != vlan);
                let name = vlan_name(&chosen.name, id);
                rename(&mut page, &chosen.name, &name);
                // Behind what carries it, where all that it needs stands before it.
                page.links.push(Link { name, vlan, metric: chosen.metric, ..settings });
            }
        }
        Ok(page)
    }

    /// What was typed of addresses and packets.
    fn settings(&self) -> Result<Link, String> {
        let mtu = number(&self.draft.mtu)?;
        if !self.draft.fixed {
            return Ok(Link { mtu, ..Link::default() });
        }
        let addresses: Vec<Cidr> = list(&self.draft.addresses, "is no address with a prefix")?;
        let has = |v4: bool| addresses.iter().any(|address| address.address().is_ipv4() == v4);
        // A person who gives addresses of IPv6 alone wants no search for a server of IPv4.
        let ipv4 = (!has(true)).then_some(Ipv4::Off);
        let gateways = list(&self.draft.gateways, "is no address")?;
        Ok(Link { ipv4, addresses, gateways, mtu, ..Link::default() })
    }
}

/// The page with every link in it: where it names none, all that there are.
pub(super) fn whole(page: &Network, state: &State) -> Network {
    let mut page = page.clone();
    if page.links.is_empty() {
        let link = |link: &LinkState| Link {
            name: link.name.clone(),
            // By its address, which it keeps wherever it is plugged in.
            nic: link.mac.clone().map(NicChoice::from),
            ..Link::default()
        };
        page.links = state.links.iter().filter(|link| link.mac.is_some()).map(link).collect();
    }
    page
}

fn draft(page: &Network, place: usize, link: &Link) -> Draft {
    let number = |number: Option<String>| number.unwrap_or_default();
    Draft {
        link: place,
        fixed: !link.addresses.is_empty(),
        addresses: joined(&link.addresses),
        gateways: joined(&link.gateways),
        dns: joined(&page.dns),
        vlan: number(link.vlan.as_ref().map(|vlan| vlan.id.to_string())),
        mtu: number(link.mtu.map(|mtu| mtu.to_string())),
    }
}

/// Puts settings on a link, which stays what it is.
fn dress(link: Option<&mut Link>, settings: &Link) {
    let Some(link) = link else { return };
    (link.ipv4, link.ipv6, link.mtu) = (settings.ipv4, settings.ipv6, settings.mtu);
    link.addresses.clone_from(&settings.addresses);
    link.gateways.clone_from(&settings.gateways);
}

/// Routes that left by one link leave by another.
fn rename(page: &mut Network, from: &str, to: &str) {
    for route in page.routes.iter_mut().filter(|route| route.link == from) {
        to.clone_into(&mut route.link);
    }
}

fn vlan_name(on: &str, id: u16) -> String {
    let id = format!(".{id}");
    let room = NAME_BYTES_MAX.saturating_sub(id.len());
    format!("{}{id}", on.get(..room).unwrap_or(on))
}

fn joined<T: ToString>(list: &[T]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Words into values, or which of them is none.
fn list<T: FromStr>(text: &str, complaint: &str) -> Result<Vec<T>, String> {
    let words = text.split([' ', ',']).filter(|word| !word.is_empty());
    words.map(|word| word.parse().map_err(|_| format!("«{word}» {complaint}."))).collect()
}

fn number<T: FromStr>(text: &str) -> Result<Option<T>, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text {
        "" => Ok(None),
        text => text
            .parse()
            .ok()
            .filter(|_| digits)
            .map(Some)
            .ok_or_else(|| format!("«{text}» is no number that fits.")),
    }
}

fn summary(page: &Network) -> Vec<String> {
    let line = |link: &Link| {
        let mut parts = vec![match (&link.vlan, link.ipv4()) {
            (Some(vlan), _) => format!("VLAN {} on {}", vlan.id, vlan.on),
            (None, Ipv4::Off) if link.addresses.is_empty() => "only carries others".to_owned(),
            (None, _) => "without a tag".to_owned(),
        }];
        if link.ipv4() == Ipv4::Dhcp {
            parts.push("by DHCP".to_owned());
        }
        parts.extend((!link.addresses.is_empty()).then(|| joined(&link.addresses)));
        parts.extend(
            (!link.gateways.is_empty()).then(|| format!("router {}", joined(&link.gateways))),
        );
        parts.extend(link.mtu.map(|mtu| format!("MTU {mtu}")));
        format!("{}: {}", link.name, parts.join(", "))
    };
    let dns = match page.dns.as_slice() {
        [] => "name servers: as DHCP and routers say".to_owned(),
        servers => format!("name servers: {}", joined(servers)),
    };
    let safe = "They are taken back by themselves unless you then confirm them within a minute.";
    page.links.iter().map(line).chain([dns, safe.to_owned()]).collect()
}

#[cfg(test)]
mod tests;
