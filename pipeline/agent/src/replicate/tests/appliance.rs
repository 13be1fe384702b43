//! An appliance of a few lines that does what PROTOCOL.md says: journal, points, vault, and every way to lose them.

use std::collections::VecDeque;

use pipeline::fingerprint::Fingerprinter;
use pipeline::ids::PointId;
use pipeline::seal::SecretKey;
use pipeline_wire::frame::{HEAD_BYTES, message};
use pipeline_wire::message::{
    Blocks, Content as Kind, Cut, Demotion, Drained, FromAgent, FromAppliance, Welcome,
};
use pipeline_wire::runs::Run;

use super::*;
use crate::session::exchange::Next;

const KEY: [u8; 32] = [9; 32];
/// Stands for what could not be read.
pub(crate) const UNREAD: u64 = u64::MAX - 1;

enum Entry {
    Blocks(Blocks, Vec<u8>),
    Cut(Cut),
}

/// A point: its cut, what its disks are called, and what they hold.
pub(crate) struct Point {
    pub(crate) cut: Cut,
    pub(crate) names: Vec<String>,
    pub(crate) disks: Vec<Vec<u64>>,
}

/// What is known of a server.
pub(crate) struct Appliance {
    pub(crate) policy: Policy,
    /// Points since the last look.
    pub(crate) points: Vec<Point>,
    /// Blocks that came, and questions about each disk, by its number.
    pub(crate) came: u64,
    pub(crate) asked: Vec<u64>,
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
    /// A server that was failed over: its own chain, while the vault is its branch.
    chain: Option<Vec<Vec<u64>>>,
    /// What the vault has of the server is not what it was told: that is said.
    pub(crate) compares: bool,
    whole_loss: bool,
    /// A drain that is ordered, and what was answered.
    pub(crate) drain: Option<String>,
    pub(crate) answer: Option<Result<Drained, String>>,
}

impl Appliance {
    pub(crate) fn new(sizes: Vec<usize>) -> Self {
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
            chain: None,
            compares: true,
            whole_loss: false,
            drain: None,
            answer: None,
        }
    }

    pub(crate) fn connect(&mut self, exchange: &Exchange) {
        if self.connected.is_some() {
            return;
        }
        let (introduced, introduction) = exchange.introduction().unwrap();
        if introduction.run != self.run {
            self.run = introduction.run;
            self.disks = introduction.disks.into_iter().map(|disk| disk.name).collect();
            self.sequence = 0;
            // A run names what changed since what it was told of; that this is not there it cannot know.
            self.lost = self.lost.filter(|_| self.whole_loss);
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
        if self.vaulted > 0 {
            let vaulted = FromAppliance::Vaulted { epoch: self.vaulted, point: PointId([0; 16]) };
            exchange.hear(vaulted).unwrap();
        }
        if let Some(token) = self.lost {
            self.say_lost(exchange, token);
        }
        if self.chain.is_some() {
            let (order, branch) = ("f-1".to_owned(), "web1~f-1".to_owned());
            let demotion = Demotion { order, point: PointId([0; 16]), branch };
            exchange.hear(FromAppliance::Demoted(demotion)).unwrap();
        }
        self.say_drain(exchange);
    }

    /// A drain is ordered, and said until it is answered.
    pub(crate) fn say_drain(&self, exchange: &Exchange) {
        if let Some(order) = self.drain.clone().filter(|_| self.answer.is_none())
            && self.connected.is_some()
        {
            exchange.hear(FromAppliance::Drain { order, power_off: true }).unwrap();
        }
    }

    /// The server is failed over: what it sends goes into its branch from now on.
    pub(crate) fn fail_over(&mut self) {
        self.chain = Some(self.vault.clone());
    }

    /// The failover ends: the vault has what it had then, and what was spooled is the branch's.
    pub(crate) fn end_failover(&mut self, exchange: &Exchange) {
        self.cut_network(exchange);
        self.vault = self.chain.take().unwrap();
        self.now = self.vault.clone();
        self.spool.clear();
        self.tokens += 1;
        (self.lost, self.whole_loss) = (Some(self.tokens), true);
    }

    /// What the vault has of the disks.
    pub(crate) fn vault(&self) -> &[Vec<u64>] {
        &self.vault
    }

    /// Another policy from now on.
    pub(crate) fn tell(&mut self, exchange: &Exchange, policy: Policy) {
        self.policy = policy.clone();
        if self.connected.is_some() {
            exchange.hear(FromAppliance::Policy(policy)).unwrap();
        }
    }

    /// Whatever was on its way, or arrived and was not synced, is lost.
    pub(crate) fn cut_network(&mut self, exchange: &Exchange) {
        if let Some(introduced) = self.connected.take() {
            exchange.lost(introduced, 0);
        }
        self.arrived.clear();
        self.questions.clear();
    }

    /// Takes some messages that the agent has to send.
    pub(crate) fn hear(&mut self, exchange: &Exchange, most: u64) {
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
                FromAgent::Drained(drained) => self.answer = Some(Ok(drained)),
                FromAgent::NotDrained { words, .. } => self.answer = Some(Err(words)),
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
    pub(crate) fn answer(&mut self, exchange: &Exchange) {
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
                    (self.lost, self.whole_loss) = (None, false);
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
    pub(crate) fn drain(&mut self, exchange: &Exchange) {
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
    pub(crate) fn lose_spool(&mut self, exchange: &Exchange) {
        if self.spool.is_empty() || self.whole_loss {
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
        if self.whole_loss && self.compares {
            let words = "the failover ended".to_owned();
            exchange.hear(FromAppliance::Compare { token, words }).unwrap();
        }
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
