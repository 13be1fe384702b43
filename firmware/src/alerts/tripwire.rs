//! The ransomware tripwire: a server that suddenly writes what does not compress, where something lay that did.
//!
//! Two steps. The first costs nothing: figures of points against the server's own history ([`judge`]). Only where they jump is the
//! vault read, a hundred blocks of each disk as they were and as they are ([`look`]). Where both say so, the last good points are
//! held, so that no retention takes them, and an alert says which. It refuses to stop anything: points go on.

use std::collections::BTreeMap;
use std::sync::Arc;

use firmware_web::api::site::Site;
use firmware_web::api::views::alerts::AlertRules;
use firmware_web::api::views::servers::{Health, PointView};
use hal::time::Clock;
use pipeline::limits::BLOCK_BYTES;
use pipeline_vault::access::Access;
use pipeline_vault::points::ChainView;
use pipeline_vault::{Blame, Error, pins};
use serde::{Deserialize, Serialize};

use super::board::cut;
use super::rules::{Kind, Level, Reading};
use crate::admin::keep::{Keep, end_within};
use crate::report::Size;
use crate::session::Session;
use crate::site::facts::{Ask, Vaulted};

use judge::{Jump, Sample, judge, thin};
use look::{Look, look};

/// The figures.
pub mod judge;
/// The blocks.
pub mod look;

const DOCUMENT: &str = "tripwire";
/// Points that are asked for: at the first look, and at each.
const HISTORY_POINTS: usize = 3000;
const NEW_POINTS: usize = 100;
/// Servers that stand at once in the document.
const RAISED_MAX: usize = 64;
/// An alarm is over after so long without another jump.
const CALM_MILLIS: u64 = 24 * 3_600_000;
/// After a second look that found nothing, the next one is so many points later.
const LOOK_AGAIN_POINTS: u32 = 8;
const DAY_MILLIS: u64 = 24 * 3_600_000;
const HOUR_MILLIS: u64 = 3_600_000;

/// What reads the vault and holds points.
pub trait Hands: Send {
    /// Compares two points of a server, by their identities.
    fn look(&mut self, server: &str, before: &str, after: &str) -> Result<Look, Error>;
    /// Holds points for so many milliseconds, each by itself: one that cannot be held keeps no other from it. Which are not, and why.
    fn hold(
        &mut self,
        server: &str,
        points: &[String],
        why: &str,
        millis: u64,
    ) -> Vec<(String, Error)>;
}

/// The vault in use.
pub struct VaultHands(pub Ask<Option<Vaulted>>);

impl VaultHands {
    fn open(&self, server: &str) -> Result<(Access, ChainView), Error> {
        let way = (self.0)().ok_or_else(|| Error::misuse("the vault", "is not chosen yet"))?;
        let mut session = Session::open(&way.opening, &way.machine)?;
        let view = session.chain(session.server(server)?)?;
        Ok((session.access(), view))
    }
}

impl Hands for VaultHands {
    fn look(&mut self, server: &str, before: &str, after: &str) -> Result<Look, Error> {
        let (access, view) = self.open(server)?;
        let mut below = |bound: u64| {
            let mut random = [0; 8];
            // Without randomness the first blocks are the sample.
            let filled = access.entropy.fill(&mut random);
            filled.map_or(u64::MAX, |()| u64::from_le_bytes(random) % bound.max(1))
        };
        look(&access, &view, (view.find(before)?, view.find(after)?), &mut below)
    }

    fn hold(
        &mut self,
        server: &str,
        points: &[String],
        why: &str,
        millis: u64,
    ) -> Vec<(String, Error)> {
        let opened = self.open(server);
        let hold = |point: &String| {
            let (access, view) = opened.as_ref().map_err(Clone::clone)?;
            let slot = view.find(point)?.record.slot;
            pins::hold(access, view.server, slot, why, millis).map(drop)
        };
        let failed = |point: &String| hold(point).err().map(|error| (point.clone(), error));
        points.iter().filter_map(failed).collect()
    }
}

/// An alarm that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Raised {
    server: String,
    /// When it last jumped, by the wall clock.
    last: u64,
    words: String,
    /// How long its last good points are held.
    #[serde(default)]
    days: u32,
    /// How its last good points fare: those that are held, those that are tried again at each look, those that cannot be held.
    #[serde(default)]
    held: Vec<String>,
    #[serde(default)]
    owed: Vec<String>,
    #[serde(default)]
    lost: Vec<String>,
}

/// What is known of a server.
#[derive(Default)]
struct Watched {
    samples: Vec<Sample>,
    /// The newest point that was judged.
    newest: String,
    /// Points until the vault may be read again.
    rest: u32,
}

/// The tripwire.
pub struct Tripwire {
    hands: Box<dyn Hands>,
    keep: Arc<dyn Keep>,
    clock: Arc<dyn Clock>,
    servers: BTreeMap<String, Watched>,
    raised: Vec<Raised>,
}

impl Tripwire {
    /// With the alarms that stood.
    #[must_use]
    pub fn open(hands: Box<dyn Hands>, keep: Arc<dyn Keep>, clock: Arc<dyn Clock>) -> Self {
        let raised = super::read(&*keep, DOCUMENT, &|bytes| {
            serde_json::from_slice(bytes).map_err(|error| error.to_string())
        });
        let raised = raised.unwrap_or_default();
        Self { hands, keep, clock, servers: BTreeMap::new(), raised }
    }

    /// Looks at every server that a site tells of.
    pub fn look(&mut self, site: &dyn Site, rules: &AlertRules) -> Vec<Reading> {
        if !rules.tripwire {
            self.raised.clear();
            return Vec::new();
        }
        if let Ok(overview) = site.overview() {
            let names: Vec<String> = overview.servers.into_iter().map(|row| row.name).collect();
            self.servers.retain(|name, _| names.contains(name));
            for name in &names {
                let points = |before: Option<u64>, limit: usize| {
                    site.points(name, before, limit).unwrap_or_default()
                };
                self.look_at(name, &points, rules);
            }
        }
        self.readings()
    }

    /// Looks at one server, whose points `points` gives: none newer than an instant, the newest first, so many at most.
    pub fn look_at(
        &mut self,
        name: &str,
        points: &dyn Fn(Option<u64>, usize) -> Vec<PointView>,
        rules: &AlertRules,
    ) {
        self.hold_owed(name);
        let watched = self.servers.entry(name.to_owned()).or_default();
        let limit = if watched.samples.is_empty() { HISTORY_POINTS } else { NEW_POINTS };
        let newest = points(None, limit);
        if newest.first().is_none_or(|point| point.id == watched.newest) {
            return;
        }
        let fresh = watched.take(&newest, newest.len() == limit);
        let Some(jump) = judge(&watched.samples) else { return };
        let now = self.clock.now().0;
        if let Some(raised) = self.raised.iter_mut().find(|raised| raised.server == name) {
            raised.last = now;
            return;
        }
        watched.rest = watched.rest.saturating_sub(fresh);
        let Some(before) = newest.get(jump.points).filter(|_| watched.rest == 0) else { return };
        match self.hands.look(name, &before.id, &newest[0].id) {
            Ok(seen) if seen.is_encrypting() => {
                let held = last_good(before, points);
                self.raise(name, before, &held, &jump, &seen, rules);
            }
            Ok(seen) => {
                log::info!(
                    "tripwire: {name} wrote {} that does not compress, {} times the usual, and it is no encrypting: of {} blocks {} are noise, and {} lay where something else was",
                    Size(jump.dense_bytes),
                    jump.times.round(),
                    seen.blocks,
                    seen.noise,
                    seen.turned,
                );
                watched.rest = LOOK_AGAIN_POINTS;
            }
            // The next point is another try.
            Err(error) => log::warn!("tripwire: {name} could not be looked at: {error}"),
        }
    }

    fn raise(
        &mut self,
        name: &str,
        before: &PointView,
        held: &[PointView],
        jump: &Jump,
        seen: &Look,
        rules: &AlertRules,
    ) {
        let words = format!(
            "{name} writes what encrypted files look like: {} in {} points, {:.0} times the usual, and {} of {} blocks that were looked at \
             held something else. Last good point {}",
            Size(jump.dense_bytes),
            jump.points,
            jump.times,
            seen.turned,
            seen.blocks,
            pipeline_azure::date::iso_date(before.at_millis),
        );
        self.raised.truncate(RAISED_MAX - 1);
        self.raised.push(Raised {
            server: name.to_owned(),
            last: self.clock.now().0,
            words,
            days: rules.tripwire_pin_days,
            held: Vec::new(),
            owed: held.iter().map(|point| point.id.clone()).collect(),
            lost: Vec::new(),
        });
        self.write();
        self.hold_owed(name);
    }

    /// Holds the last good points of a server as far as they are not held yet. Where the vault was away, the next look is another try.
    fn hold_owed(&mut self, name: &str) {
        let owes = |raised: &&mut Raised| raised.server == name && !raised.owed.is_empty();
        let Some(raised) = self.raised.iter_mut().find(owes) else { return };
        let before = raised.held.len() + raised.lost.len();
        let why = format!("ransomware tripwire: the last good points of {name}");
        let millis = u64::from(raised.days) * DAY_MILLIS;
        let failed = self.hands.hold(name, &raised.owed, &why, millis);
        for (point, error) in &failed {
            log::warn!("tripwire: point {point} of {name} is not held: {error}");
        }
        let owed = core::mem::take(&mut raised.owed);
        for point in owed {
            let error = failed.iter().find(|(other, _)| *other == point).map(|(_, error)| error);
            match error {
                None => raised.held.push(short(&point)),
                // It was pruned, or nobody here may hold it.
                Some(error) if error.blame == Blame::Misuse => raised.lost.push(short(&point)),
                Some(_) => raised.owed.push(point),
            }
        }
        if raised.held.len() + raised.lost.len() != before {
            log::warn!("tripwire: {}", raised.told());
            self.write();
        }
    }

    /// What stands; what has been calm for a day stands no more.
    pub fn readings(&mut self) -> Vec<Reading> {
        let now = self.clock.now().0;
        let before = self.raised.len();
        self.raised.retain(|raised| now.saturating_sub(raised.last) <= CALM_MILLIS);
        if self.raised.len() != before {
            self.write();
        }
        let reading = |raised: &Raised| Reading {
            kind: Kind::Tripwire,
            object: format!("server {}", raised.server),
            level: Level::Raise,
            health: Health::Bad,
            words: cut(&raised.told(), super::board::WORDS_BYTES_MAX),
            remedy: "cut the server off the network and look at it; its files are in the last good point. If it was meant, let the points go",
            raise_millis: 0,
            over_millis: 0,
        };
        self.raised.iter().map(reading).collect()
    }

    fn write(&self) {
        let written = match end_within(self.keep.room(DOCUMENT), &self.raised) {
            Ok(bytes) => self.keep.write(DOCUMENT, &bytes).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(words) = written {
            log::warn!("alarms of the tripwire do not outlive a restart: {words}");
        }
    }
}

impl Raised {
    /// In words, with what became of the last good points.
    fn told(&self) -> String {
        let owed: Vec<String> = self.owed.iter().map(|point| short(point)).collect();
        let mut told = self.words.clone();
        let kept = format!("kept for {} days", self.days);
        for (how, points) in [
            (kept.as_str(), &self.held),
            ("NOT KEPT yet, and tried again", &owed),
            ("NOT KEPT, and cannot be", &self.lost),
        ] {
            if !points.is_empty() {
                told.push_str(&format!("; {how}: {}", points.join(", ")));
            }
        }
        told
    }
}

/// As much of a point's identity as a person reads.
fn short(id: &str) -> String {
    id.get(..8).unwrap_or(id).to_owned()
}

impl Watched {
    /// Takes points that were not known, the newest first as they come; how many there were. Where there are `more` behind
    /// them, the last of them is not the first of its chain, which is a whole disk and no sample.
    fn take(&mut self, newest: &[PointView], more: bool) -> u32 {
        let known = self.samples.last().map_or(0, |sample| sample.at);
        let is_first_look = self.samples.is_empty();
        let mut fresh: Vec<Sample> = newest
            .iter()
            .filter(|point| is_first_look || point.at_millis > known)
            .map(|point| Sample {
                at: point.at_millis,
                new_bytes: point.new_blocks.saturating_mul(BLOCK_BYTES as u64),
                stored_bytes: point.stored_bytes,
            })
            .collect();
        if is_first_look && !more {
            fresh.pop();
        }
        let count = u32::try_from(fresh.len()).unwrap_or(u32::MAX);
        self.samples.extend(fresh.into_iter().rev());
        thin(&mut self.samples);
        newest
            .first()
            .map(|point| point.id.clone())
            .unwrap_or_default()
            .clone_into(&mut self.newest);
        count
    }
}

/// Points to be held: the last before the jump and the one before it; one that is an hour older and one that is a day older, since
/// it may have begun quietly; and the newest that is application-consistent.
fn last_good(
    before: &PointView,
    points: &dyn Fn(Option<u64>, usize) -> Vec<PointView>,
) -> Vec<PointView> {
    let good = points(Some(before.at_millis), NEW_POINTS);
    let older = |millis: u64| points(before.at_millis.checked_sub(millis), 1).into_iter().next();
    let application = good.iter().find(|point| point.consistency == "application").cloned();
    let chosen = good.iter().take(2).cloned().chain(application);
    let mut held: Vec<PointView> = Vec::new();
    for point in chosen.chain(older(HOUR_MILLIS)).chain(older(DAY_MILLIS)) {
        let is_old_enough = point.at_millis <= before.at_millis;
        if is_old_enough && !held.iter().any(|known| known.id == point.id) {
            held.push(point);
        }
    }
    held
}

#[cfg(test)]
mod tests;
