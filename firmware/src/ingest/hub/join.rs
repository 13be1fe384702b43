//! Connections come and go: which session they are of, and what was there before is told.

use core::time::Duration;

use pipeline::limits::DISK_BLOCKS_MAX;
use pipeline_wire::message::{VERSION, VERSION_FORK};

use super::{
    BTreeMap, CREDIT_LEAST, CREDIT_ONE, Entry, FromAppliance, Hello, Hub, Life, Line, Member,
    PointId, Receiver, Refused, SURE_OF_FOUR, SentDisk, ServerId, Standing, State, Why, bounded,
    member_of,
};
use crate::ingest::ledger::{is_whole, outlives_runs};

/// Disks of one server.
const DISKS_MAX: usize = 256;
/// Connections of one session.
const LINES_MAX: usize = 16;
/// Longest name and identity of a disk.
const NAME_BYTES_MAX: usize = 128;
const IDENTITY_BYTES_MAX: usize = 1024;
/// Runs that were taken over from and are remembered.
const DISPLACED_MAX: usize = 16;

/// Why nothing is taken of a server for a while.
pub(super) const NO_WAY: &str =
    "what this server sends has no way into the vault now: see the appliance's messages";

/// A connection that is part of a session.
pub struct Joined {
    /// Which run.
    pub life: Life,
    /// Names the connection.
    pub line: u64,
    /// Told when there is something to say.
    pub wake: Receiver<()>,
    /// Everything of the run up to here is spooled.
    pub spooled: u64,
    /// The newest epoch that was spooled.
    pub spooled_epoch: u64,
    /// The newest in the vault.
    pub vaulted_epoch: u64,
    /// Whether the vault had content of each disk when the run began.
    pub known_disks: Vec<bool>,
    /// What may be on its way.
    pub credit: u64,
}

impl Hub {
    /// Whether a run of this server goes on here: then nothing needs to be asked of the vault.
    #[must_use]
    pub fn goes_on(&self, hello: &Hello) -> bool {
        let life = Life { server: hello.server, run: hello.run };
        self.lock().of(&life).is_some()
    }

    /// A connection joins the session of its run, or begins it. `known` says of each disk whether the vault has it, `base` is
    /// the newest point of a server of which nothing is known here.
    ///
    /// Errors: something newer took over, or what was said makes no sense.
    pub fn join(
        &self,
        hello: &Hello,
        known: &[bool],
        base: Option<PointId>,
    ) -> Result<Joined, Refused> {
        let life = Life { server: hello.server, run: hello.run };
        let mut state = self.lock();
        if state.stop {
            return Err(later("the appliance is about to stop"));
        }
        let now = self.clock.moment();
        if state.members.get(&life.server).is_some_and(|member| member.kept_out_until > now) {
            return Err(later(NO_WAY));
        }
        let speaks = hello.version_max.min(VERSION);
        let lost =
            state.members.get(&life.server).and_then(|member| member.session.standing().lost);
        if speaks < VERSION_FORK && lost.is_some_and(is_whole) {
            return Err(too_old());
        }
        if state.of(&life).is_none() {
            state.begin(life, hello, known, base)?;
            self.to_keep.notify_all();
        }
        let credit = state.credit(&life);
        let number = state.lines;
        state.lines += 1;
        let Some(member) = state.of(&life) else { return Err(later("it was just taken over")) };
        let standing = member.session.standing();
        let disks = || standing.disks.iter().map(|disk| &disk.hello);
        if hello.connection == 0 && !disks().eq(&hello.disks) {
            return Err(nonsense("its disks changed within a run", "begin a new run"));
        }
        if credit == 0 && !state.full {
            return Err(later("so many servers are connected that there is no room for another"));
        }
        let Some(member) = state.of(&life) else { return Err(later("it was just taken over")) };
        member.replace(hello.connection);
        member.speaks = speaks;
        if member.lines.len() >= LINES_MAX {
            return Err(later("this session has as many connections as it may"));
        }
        let (wake, woken) = bounded(1);
        // Whatever is owed is said behind the welcome.
        let _ = wake.try_send(());
        member.lines.insert(number, Line { connection: hello.connection, wake, ended: None });
        member.session.grant(credit);
        member.session.joined();
        member.owe_standing();
        let standing = member.session.standing();
        Ok(Joined {
            life,
            line: number,
            wake: woken,
            spooled: member.session.spooled(),
            spooled_epoch: standing.epoch,
            vaulted_epoch: standing.vaulted.map_or(0, |(epoch, _)| epoch),
            known_disks: standing.disks.iter().map(|disk| disk.known).collect(),
            credit,
        })
    }

    /// A connection ended.
    pub fn leave(&self, server: ServerId, line: u64) {
        let mut state = self.lock();
        let Some(member) = state.members.get_mut(&server) else { return };
        member.lines.remove(&line);
        if member.lines.is_empty() {
            member.session.forget_held();
            member.session.grant(0);
            let effects = state.groups.gone(server);
            state.carry_out(effects);
        } else {
            // What it was about to say may not have been heard: another one says it.
            member.session.joined();
            member.wake();
        }
    }

    /// How long a connection may be silent: agents tell how they fare far more often.
    #[must_use]
    pub fn silence_max() -> Duration {
        Duration::from_secs(180)
    }
}

impl State {
    fn begin(
        &mut self,
        life: Life,
        hello: &Hello,
        known: &[bool],
        base: Option<PointId>,
    ) -> Result<(), Refused> {
        if hello.connection != 0 {
            return Err(later("the first connection of this run is not here yet"));
        }
        let mut disks = checked(hello, known)?;
        if let Some(member) = self.members.get(&life.server) {
            // What an earlier run sent may not be in the vault yet, and is there all the same.
            let old = member.session.standing();
            for disk in disks.iter_mut().filter(|_| old.sequence > 0) {
                disk.known |= old.disks.iter().any(|other| other.hello.name == disk.hello.name);
            }
        }
        let mut standing = Standing::begin(life, disks.clone());
        if let Some(member) = self.members.get_mut(&life.server) {
            if member.displaced.contains(&life.run) {
                return Err(Refused {
                    why: Why::Demoted,
                    words: "a newer run of this server's agent has taken over".to_owned(),
                    remedy: "only one agent may run on a server: stop this one".to_owned(),
                });
            }
            member.end_lines(&Refused {
                why: Why::Demoted,
                words: "a newer run of this server's agent has just begun".to_owned(),
                remedy: "only one agent may run on a server: stop one of the two".to_owned(),
            });
            let old = member.session.standing();
            (standing.epoch, standing.vaulted) = (old.epoch, old.vaulted);
            standing.lost = outlives_runs(old.lost);
            let mut displaced = core::mem::take(&mut member.displaced);
            displaced.push_back(old.life.run);
            while displaced.len() > DISPLACED_MAX {
                displaced.pop_front();
            }
            // The lines of the old run end by themselves; they find nothing of theirs here any more.
            let lines = core::mem::take(&mut member.lines);
            let kept = member_of(standing);
            let before = core::mem::replace(member, kept);
            member.displaced = displaced;
            member.lines = lines;
            (member.policy, member.group) = (before.policy, before.group);
            (member.pieces, member.kept_out_until) = (before.pieces, before.kept_out_until);
            member.measures = before.measures;
            (member.demotion, member.drain) = (before.demotion, before.drain);
        } else {
            standing.vaulted = base.map(|point| (0, point));
            if base.is_some() {
                // Before the run's beginning, so that a cut of the power between the two leaves nobody without it.
                self.enqueue(Entry::Standings(vec![standing.clone()]), Vec::new());
            }
            self.members.insert(life.server, member_of(standing));
        }
        self.enqueue(Entry::Begin(life, disks), Vec::new());
        Ok(())
    }

    /// Gives credit to whoever came while the spool was full.
    pub(super) fn give_credit(&mut self) {
        if self.full {
            return;
        }
        let waits = |member: &&Member| !member.lines.is_empty() && member.session.credit() == 0;
        let waiting: Vec<Life> = self
            .members
            .values()
            .filter(waits)
            .map(|member| member.session.standing().life)
            .collect();
        for life in waiting {
            let bytes = self.credit(&life);
            if let Some(member) = self.of(&life).filter(|_| bytes > 0) {
                member.session.grant(bytes);
                member.session.owe(FromAppliance::Credit { bytes });
                member.wake();
            }
        }
    }

    /// What one more server may have on its way.
    fn credit(&mut self, life: &Life) -> u64 {
        if self.full {
            return 0;
        }
        let others = self.members.values().filter(|member| member.session.standing().life != *life);
        let sure = self.credit_all / CREDIT_LEAST * SURE_OF_FOUR / 4;
        let (mut given, mut places) = (0, sure.saturating_sub(1));
        for credit in others.map(|member| member.session.credit()).filter(|credit| *credit > 0) {
            given += credit;
            places = places.saturating_sub(1);
        }
        // The least is set aside for each server that may still come; of what is beyond that, a part.
        let left = self.credit_all.saturating_sub(given).saturating_sub(places * CREDIT_LEAST);
        let had = self.of(life).map_or(0, |member| member.session.credit());
        let beyond = left.saturating_sub(CREDIT_LEAST) / 4;
        let share = (CREDIT_LEAST + beyond).min(left).min(CREDIT_ONE).max(had);
        if share < CREDIT_LEAST { 0 } else { share }
    }
}

impl Member {
    /// A connection of the same number that is still thought to be there is not.
    fn replace(&mut self, connection: u16) {
        let _: BTreeMap<u64, Line> =
            self.lines.extract_if(.., |_, line| line.connection == connection).collect();
    }
}

fn checked(hello: &Hello, known: &[bool]) -> Result<Vec<SentDisk>, Refused> {
    let bad = |what: &str| nonsense(what, "update the agent");
    if hello.disks.is_empty() || hello.disks.len() > DISKS_MAX {
        return Err(bad("it has no disks, or more than 256"));
    }
    let mut disks: Vec<SentDisk> = Vec::with_capacity(hello.disks.len());
    for (at, disk) in hello.disks.iter().enumerate() {
        let named = (1..=NAME_BYTES_MAX).contains(&disk.name.len())
            && disk.identity.len() <= IDENTITY_BYTES_MAX
            && !disk.name.contains(char::is_control)
            && disks.iter().all(|other| other.hello.name != disk.name);
        if !named {
            return Err(bad("the name of a disk is empty, too long, or there twice"));
        }
        let sector = disk.sector_bytes;
        let disk = SentDisk { hello: disk.clone(), known: known.get(at).copied().unwrap_or(false) };
        let sound = (1..=DISK_BLOCKS_MAX).contains(&disk.blocks())
            && sector.is_power_of_two()
            && (512..=65_536).contains(&sector);
        if !sound {
            return Err(bad("a disk has a size that no disk has"));
        }
        disks.push(disk);
    }
    Ok(disks)
}

/// Not now.
#[must_use]
pub(in crate::ingest) fn later(words: &str) -> Refused {
    Refused { why: Why::Later, words: words.to_owned(), remedy: "it is tried again".to_owned() }
}

/// An agent that cannot be told that everything is to be compared.
fn too_old() -> Refused {
    Refused {
        why: Why::Version,
        words: "a failover of this server has ended, and this agent is too old to go on behind it"
            .to_owned(),
        remedy: "update the agent: run the line that «lifeboat server token» prints".to_owned(),
    }
}

fn nonsense(words: &str, remedy: &str) -> Refused {
    Refused { why: Why::Nonsense, words: words.to_owned(), remedy: remedy.to_owned() }
}
