//! An appliance of a few lines that does what PROTOCOL.md says: journal, points, vault, and every way to lose them.

use std::collections::VecDeque;

use pipeline::fingerprint::Fingerprinter;
use pipeline::ids::PointId;
use pipeline::seal::SecretKey;
use pipeline_wire::frame::{HEAD_BYTES, message};
use pipeline_wire::message::{Blocks, Content as Kind, Cut, FromAgent, FromAppliance, Welcome};
use pipeline_wire::runs::Run;

use super::*;
use crate::session::exchange::Next;

const KEY: [u8; 32] = [9; 32];
/// Stands for what could not be read.
pub(super) const UNREAD: u64 = u64::MAX - 1;

enum Entry {
    Blocks(Blocks, Vec<u8>),
    Cut(Cut),
}

/// A point: its cut, what its disks are called, and what they hold.
pub(super) struct Point {
    pub(super) cut: Cut,
    pub(super) names: Vec<String>,
    pub(super) disks: Vec<Vec<u64>>,
}

/// What is known of a server.
pub(super) struct Appliance {
    pub(super) policy: Policy,
    /// Points since the last look.
    pub(super) points: Vec<Point>,
    /// Blocks that came, and questions about each disk, by its number.
    pub(super) came: u64,
    pub(super) asked: Vec<u64>,
    /// What the disks of this run are called.
    disks: Vec<String>,
    connected: Option<u64>,
    run: [u8; 16],
    /// Arrived, and not synced.
    arrived: VecDeque<Entry>,
    /// Synced, and not in the vault.
    spool: VecDeque<Entry>,
    sequence: u64,
    epoch: u64,
    /// The content with everything of the spool.
    now: Vec<Vec<u64>>,
    vault: Vec<Vec<u64>>,
    vaulted: u64,
    known: bool,
    questions: VecDeque<FromAppliance>,
    /// A loss that no cut answered yet.
    lost: Option<u64>,
    tokens: u64,
}

impl Appliance {
    pub(super) fn new(sizes: Vec<usize>) -> Self {
        let empty: Vec<Vec<u64>> = sizes.into_iter().map(|size| vec![0; size]).collect();
        Self {
            came: 0,
            asked: vec![0; empty.len()],
            disks: Vec::new(),
            policy: Policy::default(),
            points: Vec::new(),
            connected: None,
            run: [0; 16],
            arrived: VecDeque::new(),
            spool: VecDeque::new(),
            sequence: 0,
            epoch: 0,
            now: empty.clone(),
            vault: empty,
            vaulted: 0,
            known: false,
            questions: VecDeque::new(),
            lost: None,
            tokens: 0,
        }
    }

    pub(super) fn connect(&mut self, exchange: &Exchange) {
        if self.connected.is_some() {
            return;
        }
        let (introduced, introduction) = exchange.introduction().unwrap();
        if introduction.run != self.run {
            self.run = introduction.run;
            self.disks = introduction.disks.into_iter().map(|disk| disk.name).collect();
            self.sequence = 0;
            self.lost = None;
        }
        let welcome = Welcome {
            version: 1,
            appliance: "test".to_owned(),
            fingerprint_key: SecretKey::from_bytes(KEY),
            policy: self.policy.clone(),
            spooled: self.sequence,
            vaulted_epoch: self.vaulted,
            spooled_epoch: self.epoch,
            known_disks: vec![self.known; self.now.len()],
            credit_bytes: 4 << 20,
        };
        exchange.welcome(introduced, Box::new(welcome)).unwrap();
        self.connected = Some(introduced);
        if let Some(token) = self.lost {
            self.say_lost(exchange, token);
        }
    }

    /// Another policy from now on.
    pub(super) fn tell(&mut self, exchange: &Exchange, policy: Policy) {
        self.policy = policy.clone();
        if self.connected.is_some() {
            exchange.hear(FromAppliance::Policy(policy)).unwrap();
        }
    }

    /// Whatever was on its way, or arrived and was not synced, is lost.
    pub(super) fn cut_network(&mut self, exchange: &Exchange) {
        if let Some(introduced) = self.connected.take() {
            exchange.lost(introduced, 0);
        }
        self.arrived.clear();
        self.questions.clear();
    }

    /// Takes some messages that the agent has to send.
    pub(super) fn hear(&mut self, exchange: &Exchange, most: u64) {
        let Some(introduced) = self.connected else { return };
        for _ in 0..most {
            let Next::Send(parcel) = exchange.next(introduced, 0, Moment(0)) else { return };
            let (_, body) = parcel.head.split_first_chunk::<HEAD_BYTES>().unwrap();
            match message(body).unwrap() {
                FromAgent::Blocks(blocks) => {
                    self.came += blocks.runs.iter().map(|run| u64::from(run.blocks)).sum::<u64>();
                    self.arrived.push_back(Entry::Blocks(blocks, parcel.payload.clone()));
                }
                FromAgent::Cut(cut) => self.arrived.push_back(Entry::Cut(cut)),
                FromAgent::Fingerprints { question, disk, first } => {
                    // Over another connection it could have come before them.
                    let said = self.arrived.iter().any(|entry| {
                        (first..first + 256).any(|block| is_about(entry, disk, block))
                    });
                    assert!(!said, "asked about blocks that are not called spooled yet");
                    self.asked[usize::from(disk)] += 1;
                    let bits = self.wanted(disk, first, &parcel.payload);
                    self.questions.push_back(FromAppliance::Wanted { question, bits });
                }
                FromAgent::Frozen { token } => {
                    exchange.hear(FromAppliance::AllFrozen { token }).unwrap();
                }
                _ => {}
            }
        }
    }

    /// Blocks whose newest content is not in the vault, or another than the agent's, are wanted.
    fn wanted(&self, disk: u16, first: u64, fingerprints: &[u8]) -> Vec<u8> {
        let maker = Fingerprinter::new(&SecretKey::from_bytes(KEY));
        let mut bits = vec![0_u8; 32];
        for (at, theirs) in fingerprints.chunks(16).enumerate() {
            let block = first + at as u64;
            let ours = self.vault[usize::from(disk)][usize::try_from(block).unwrap()];
            let mut content = vec![0; BLOCK_BYTES];
            content[..8].copy_from_slice(&ours.to_le_bytes());
            let print = if ours == 0 { [0; 16] } else { maker.of(&content).0 };
            let mut entries = self.spool.iter().chain(&self.arrived);
            let is_pending = entries.any(|entry| is_about(entry, disk, block));
            if is_pending || print != *theirs {
                bits[at / 8] |= 1 << (at % 8);
            }
        }
        bits
    }

    /// Syncs what arrived, acknowledges it, and answers questions.
    pub(super) fn answer(&mut self, exchange: &Exchange) {
        if self.connected.is_none() {
            return;
        }
        while let Some(entry) = self.arrived.pop_front() {
            self.keep(entry);
        }
        exchange.hear(FromAppliance::Spooled { sequence: self.sequence }).unwrap();
        for answer in self.questions.drain(..) {
            exchange.hear(answer).unwrap();
        }
    }

    fn keep(&mut self, entry: Entry) {
        let sequence = match &entry {
            Entry::Blocks(blocks, _) => blocks.sequence,
            Entry::Cut(cut) => cut.sequence,
        };
        assert_eq!(sequence, self.sequence + 1, "a gap, or the same again");
        self.sequence = sequence;
        match &entry {
            Entry::Blocks(blocks, payload) => apply(&mut self.now, blocks, payload),
            Entry::Cut(cut) => {
                assert!(cut.epoch > self.epoch, "epoch {} after {}", cut.epoch, self.epoch);
                self.epoch = cut.epoch;
                if cut.group.is_some_and(|(token, _)| self.lost == Some(token)) {
                    self.lost = None;
                }
                if self.lost.is_some() {
                    // No point: what it closed goes on into the next one.
                    return;
                }
                let names = self.disks.clone();
                let disks = self.now.iter().take(names.len()).cloned().collect();
                self.points.push(Point { cut: cut.clone(), names, disks });
            }
        }
        self.spool.push_back(entry);
    }

    /// The vault takes everything up to the newest point.
    pub(super) fn drain(&mut self, exchange: &Exchange) {
        if self.lost.is_some() {
            return;
        }
        let last = self.spool.iter().rposition(|entry| matches!(entry, Entry::Cut(_)));
        let Some(last) = last else { return };
        for entry in self.spool.drain(..=last) {
            match entry {
                Entry::Blocks(blocks, payload) => apply(&mut self.vault, &blocks, &payload),
                Entry::Cut(cut) => self.vaulted = cut.epoch,
            }
        }
        self.known = true;
        if self.connected.is_some() {
            let vaulted = FromAppliance::Vaulted { epoch: self.vaulted, point: PointId([0; 16]) };
            exchange.hear(vaulted).unwrap();
        }
    }

    /// Everything that the vault does not have is gone.
    pub(super) fn lose_spool(&mut self, exchange: &Exchange) {
        if self.spool.is_empty() {
            return;
        }
        self.spool.clear();
        self.now = self.vault.clone();
        self.tokens += 1;
        self.lost = Some(self.tokens);
        if self.connected.is_some() {
            self.say_lost(exchange, self.tokens);
        }
    }

    fn say_lost(&self, exchange: &Exchange, token: u64) {
        exchange.hear(FromAppliance::Resend { words: "the test lost it".to_owned() }).unwrap();
        exchange.hear(FromAppliance::Prepare { token, patience_millis: 0 }).unwrap();
        // There are no others to wait for.
        exchange.hear(FromAppliance::AllFrozen { token }).unwrap();
    }
}

fn is_about(entry: &Entry, disk: u16, block: u64) -> bool {
    let Entry::Blocks(blocks, _) = entry else { return false };
    let within = |run: &Run| (run.first..run.end().unwrap()).contains(&block);
    blocks.disk == disk && blocks.runs.iter().any(within)
}

fn apply(state: &mut [Vec<u64>], blocks: &Blocks, payload: &[u8]) {
    let named = blocks.runs.iter().flat_map(|run| run.first..run.end().unwrap());
    let mut contents = payload.chunks(BLOCK_BYTES);
    for block in named {
        let stamp = match blocks.content {
            Kind::Data => u64::from_le_bytes(contents.next().unwrap()[..8].try_into().unwrap()),
            Kind::Zeros => 0,
            Kind::Unread => UNREAD,
            other => panic!("{other:?}"),
        };
        state[usize::from(blocks.disk)][usize::try_from(block).unwrap()] = stamp;
    }
    assert!(contents.next().is_none());
}
