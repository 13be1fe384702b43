//! An agent that does what a test says, over real TLS, and knows by a model of its own what every point must hold.
//!
//! It keeps the protocol's rules: numbers in order, what is not acknowledged is sent again, credit is kept to. What it was
//! told once it holds against the appliance for ever.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpStream;
use std::time::Instant;

use hal_sim::random::Random;
use pipeline::ids::PointId;
use pipeline::limits::BLOCK_BYTES;
use pipeline_agent::enrol::{Facts, enrol};
use pipeline_agent::state::Enrolment;
use pipeline_wire::authority::Credentials;
use pipeline_wire::connection::{Broken, Connection};
use pipeline_wire::message::{
    Binding, Blocks, Content, Cut, Demotion, DiskHello, FromAgent, FromAppliance, Hello,
    Instant as Cleanness, Refused, VERSION, VERSION_MIN, Welcome,
};
use pipeline_wire::runs::{Run, runs_of};
use pipeline_wire::tls;
use rustls::{ClientConnection, StreamOwned};

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(120);
/// The instant of epoch 0, by the server's clock; each epoch is a second later.
pub const FIRST_INSTANT: u64 = 1_700_000_000_000;

/// The content of an image, as fast as it goes.
mod first_sync;

type Line = Connection<StreamOwned<ClientConnection, TcpStream>>;

/// A server and its agent.
pub struct ScriptedAgent {
    /// Who it is.
    pub enrolment: Enrolment,
    /// Which machine it says that it runs on.
    pub binding: Binding,
    /// Its run.
    pub run: [u8; 16],
    /// The content of its one disk now.
    pub disk: Vec<u8>,
    /// The content at each cut, by epoch.
    pub states: BTreeMap<u64, Vec<u8>>,
    /// Everything up to here was called spooled.
    pub spooled: u64,
    /// The newest epoch that was called vaulted.
    pub vaulted: u64,
    /// Whether it was told to send again.
    pub resend: bool,
    /// The group's cut that it was asked for last.
    pub asked: Option<u64>,
    /// The group's cut of which it was told last that all are frozen.
    pub all_frozen: Option<u64>,
    /// What became of a group's cut, the last time.
    pub result: Option<(u64, bool)>,
    /// What it was told first, the last time.
    pub welcome: Option<Welcome>,
    /// The newest version of the protocol that it speaks.
    pub version: u16,
    /// What it was told of a failover since it was welcomed last.
    pub demotion: Option<Demotion>,
    /// That everything is to be compared, and the cut that answers that.
    pub compares: Option<u64>,
    /// What it was told of drains, since the beginning.
    pub drains: Vec<FromAppliance>,
    /// Points in the vault, by epoch.
    pub points: BTreeMap<u64, PointId>,
    sequence: u64,
    epoch: u64,
    credit: u64,
    /// What is not acknowledged.
    unspooled: BTreeMap<u64, (FromAgent, Vec<u8>)>,
    sent: BTreeSet<u64>,
    /// Blocks that changed in each epoch that is not vaulted.
    changed: BTreeMap<u64, BTreeSet<u64>>,
    line: Option<Line>,
    random: Random,
}

/// Why something did not happen.
#[derive(Debug)]
pub enum Away {
    /// The connection is gone.
    Gone(String),
    /// The appliance says why.
    Refused(Refused),
}

impl From<Broken> for Away {
    fn from(error: Broken) -> Self {
        Self::Gone(error.to_string())
    }
}

impl ScriptedAgent {
    /// Enrols a server with a disk of so many bytes, all zeros.
    pub fn enrol(token: &str, host: &str, bytes: usize, seed: u64) -> Result<Self, String> {
        let binding = Binding { machine: [7; 16], disks: vec![[8; 16]] };
        let facts = Facts {
            binding: binding.clone(),
            host: host.to_owned(),
            kernel: "6.1".to_owned(),
            disks: Vec::new(),
        };
        let enrolment = enrol(token, facts).map_err(|error| error.to_string())?;
        let mut random = Random::new(seed);
        let mut run = [0; 16];
        random.fill(&mut run);
        Ok(Self {
            enrolment,
            binding,
            run,
            disk: vec![0; bytes],
            states: BTreeMap::new(),
            spooled: 0,
            vaulted: 0,
            resend: false,
            asked: None,
            all_frozen: None,
            result: None,
            welcome: None,
            version: VERSION,
            demotion: None,
            compares: None,
            drains: Vec::new(),
            points: BTreeMap::new(),
            sequence: 0,
            epoch: 0,
            credit: 0,
            unspooled: BTreeMap::new(),
            sent: BTreeSet::new(),
            changed: BTreeMap::new(),
            line: None,
            random,
        })
    }

    /// How it names its disk.
    #[must_use]
    pub fn hello_disk(&self) -> DiskHello {
        DiskHello {
            name: "sda".to_owned(),
            identity: "serial=S1".to_owned(),
            bytes: self.disk.len() as u64,
            sector_bytes: 512,
        }
    }

    /// A connection of this agent's session, after its Hello.
    pub fn dial(&self, connection: u16) -> Result<(Line, Welcome), Away> {
        let gone = |error: &dyn core::fmt::Display| Away::Gone(error.to_string());
        let address = &self.enrolment.addresses[0];
        let socket = TcpStream::connect(address).map_err(|error| gone(&error))?;
        // Until the session stands, nobody looks at anything else.
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let handle = socket.try_clone().expect("a handle");
        socket.set_nodelay(true).expect("an option");
        let credentials = Credentials {
            certificate: self.enrolment.certificate.clone(),
            key: self.enrolment.key.clone().into(),
        };
        let config = tls::agent(&credentials, &self.enrolment.authority).expect("a configuration");
        let name = tls::appliance_name().expect("a name");
        let client = ClientConnection::new(config, name).expect("a client");
        let mut line = Connection::new(StreamOwned::new(client, socket), u32::MAX);
        let disks = if connection == 0 { vec![self.hello_disk()] } else { Vec::new() };
        let hello = Hello {
            version_min: VERSION_MIN,
            version_max: self.version,
            agent: "scripted".to_owned(),
            host: "scripted".to_owned(),
            kernel: "none".to_owned(),
            server: self.enrolment.server,
            binding: self.binding.clone(),
            run: self.run,
            connection,
            disks,
        };
        line.send(&FromAgent::Hello(Box::new(hello)))?;
        match hear(&mut line)? {
            FromAppliance::Welcome(welcome) => {
                handle.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
                Ok((line, *welcome))
            }
            FromAppliance::Refused(refused) => Err(Away::Refused(refused)),
            other => panic!("neither welcome nor refusal: {other:?}"),
        }
    }

    /// Connects, and goes on with the same run. What was called spooled must still be.
    pub fn connect(&mut self) -> Result<(), Away> {
        let (line, welcome) = self.dial(0)?;
        assert!(
            welcome.spooled >= self.spooled,
            "{} was called spooled, and now it is {}",
            self.spooled,
            welcome.spooled
        );
        assert!(welcome.vaulted_epoch >= self.vaulted, "{} was called vaulted", self.vaulted);
        self.line = Some(line);
        self.credit = welcome.credit_bytes;
        self.sent.clear();
        self.note_spooled(welcome.spooled);
        self.note_vaulted(welcome.vaulted_epoch);
        self.epoch = self.epoch.max(welcome.spooled_epoch);
        self.welcome = Some(welcome);
        self.demotion = None;
        Ok(())
    }

    /// Connects as soon as somebody listens.
    pub fn connect_patiently(&mut self) {
        let began = Instant::now();
        loop {
            match self.connect() {
                Ok(()) => return,
                Err(away) if began.elapsed() > PATIENCE => panic!("no connection: {away:?}"),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Begins a new run, as after a restart: everything that the vault does not have is to be sent again.
    pub fn begin_run(&mut self) {
        self.random.fill(&mut self.run);
        let all: BTreeSet<u64> = self.changed.values().flatten().copied().collect();
        self.changed.clear();
        (self.sequence, self.spooled, self.line) = (0, 0, None);
        self.unspooled.clear();
        self.sent.clear();
        self.send_blocks(&all.into_iter().collect::<Vec<_>>());
    }

    /// What `Resend` asks for.
    pub fn send_again(&mut self) {
        self.resend = false;
        let all: BTreeSet<u64> = self.changed.values().flatten().copied().collect();
        self.send_blocks(&all.into_iter().collect::<Vec<_>>());
    }

    /// What `Compare` asks for: asks about every block, and sends what is wanted with the cut that answers; its epoch.
    pub fn compare_all(&mut self, token: u64) -> Result<u64, Away> {
        let key = &self.welcome.as_ref().expect("a welcome").fingerprint_key;
        let maker = pipeline::fingerprint::Fingerprinter::new(key);
        let blocks = self.disk.chunks(BLOCK_BYTES).map(|block| {
            let mut whole = block.to_vec();
            whole.resize(BLOCK_BYTES, 0);
            if whole.iter().all(|byte| *byte == 0) { [0; 16] } else { maker.of(&whole).0 }
        });
        let prints: Vec<[u8; 16]> = blocks.collect();
        let mut wanted = Vec::new();
        for (leaf, prints) in (0..).zip(prints.chunks(256)) {
            let bits = self.ask(leaf * 256, prints)?;
            wanted.extend((leaf * 256..).zip(bits).filter(|(_, bit)| *bit).map(|(block, _)| block));
        }
        (self.compares, self.resend) = (None, false);
        let changed = self.changed.values().flatten().copied();
        let all: BTreeSet<u64> = changed.chain(wanted).collect();
        self.send_blocks(&all.into_iter().collect::<Vec<_>>());
        Ok(self.cut_with(Some((token, true))))
    }

    /// Whether everything that was said is spooled.
    #[must_use]
    pub fn is_spooled(&self) -> bool {
        self.unspooled.is_empty()
    }

    /// Closes the connection without a word.
    pub fn hang_up(&mut self) {
        self.line = None;
    }

    /// Changes random blocks of the disk, and has them sent.
    pub fn write_some(&mut self, count: u64) {
        let blocks = (self.disk.len() / BLOCK_BYTES) as u64;
        let mut touched = BTreeSet::new();
        for _ in 0..count {
            let first = self.random.below(blocks);
            let length = 1 + self.random.below(6.min(blocks - first));
            for block in first..first + length {
                let at = usize::try_from(block).expect("a block") * BLOCK_BYTES;
                let room = &mut self.disk[at..at + BLOCK_BYTES];
                match self.random.below(8) {
                    0 => room.fill(0),
                    // Half of it compresses.
                    _ => self.random.fill(&mut room[..BLOCK_BYTES / 2]),
                }
                touched.insert(block);
            }
        }
        self.send_blocks(&touched.into_iter().collect::<Vec<_>>());
    }

    /// Has blocks of the disk sent as they are now.
    pub fn send_blocks(&mut self, blocks: &[u64]) {
        self.changed.entry(self.epoch + 1).or_default().extend(blocks);
        let is_zero = |block: &u64| {
            let at = usize::try_from(*block).expect("a block") * BLOCK_BYTES;
            self.disk[at..at + BLOCK_BYTES].iter().all(|byte| *byte == 0)
        };
        let (zeros, data): (Vec<u64>, Vec<u64>) = blocks.iter().partition(|block| is_zero(block));
        if !zeros.is_empty() {
            self.keep(Content::Zeros, runs_of(zeros), Vec::new());
        }
        for part in data.chunks(16) {
            let mut payload = Vec::with_capacity(part.len() * BLOCK_BYTES);
            for block in part {
                let at = usize::try_from(*block).expect("a block") * BLOCK_BYTES;
                payload.extend_from_slice(&self.disk[at..at + BLOCK_BYTES]);
            }
            self.keep(Content::Data, runs_of(part.iter().copied()), payload);
        }
    }

    fn keep(&mut self, content: Content, runs: Vec<Run>, payload: Vec<u8>) {
        self.sequence += 1;
        let blocks = Blocks { sequence: self.sequence, disk: 0, content, runs };
        self.unspooled.insert(self.sequence, (FromAgent::Blocks(blocks), payload));
    }

    /// Has a cut sent; its epoch.
    pub fn cut(&mut self) -> u64 {
        self.cut_with(None)
    }

    /// The same as part of a group.
    pub fn cut_with(&mut self, group: Option<(u64, bool)>) -> u64 {
        let cut = self.next_cut(group);
        self.unspooled.insert(self.sequence, (FromAgent::Cut(cut), Vec::new()));
        self.states.insert(self.epoch, self.disk.clone());
        self.changed.entry(self.epoch).or_default();
        self.epoch
    }

    fn next_cut(&mut self, group: Option<(u64, bool)>) -> Cut {
        self.epoch += 1;
        self.sequence += 1;
        Cut {
            sequence: self.sequence,
            epoch: self.epoch,
            instant: Cleanness::Application,
            at_millis: FIRST_INSTANT + self.epoch * 1000,
            frozen_micros: 1500,
            remarks: vec!["scripted".to_owned()],
            group,
        }
    }

    /// Sends what credit allows, and hears what there is to hear.
    pub fn work(&mut self) -> Result<(), Away> {
        let waiting: Vec<u64> = self
            .unspooled
            .keys()
            .filter(|sequence| !self.sent.contains(sequence))
            .copied()
            .collect();
        for sequence in waiting {
            let on_the_way: usize = self
                .sent
                .iter()
                .filter_map(|sent| self.unspooled.get(sent))
                .map(|(_, data)| data.len())
                .sum();
            let (message, payload) = &self.unspooled[&sequence];
            if (on_the_way + payload.len()) as u64 > self.credit {
                break;
            }
            let line = self.line.as_mut().ok_or_else(|| Away::Gone("not connected".to_owned()))?;
            line.send_with(message, &[payload])?;
            self.sent.insert(sequence);
        }
        self.listen()
    }

    /// Hears what there is to hear, for a moment.
    pub fn listen(&mut self) -> Result<(), Away> {
        while let Some(said) = self.hear_now()? {
            self.note(said)?;
        }
        Ok(())
    }

    fn hear_now(&mut self) -> Result<Option<FromAppliance>, Away> {
        let line = self.line.as_mut().ok_or_else(|| Away::Gone("not connected".to_owned()))?;
        Ok(line.receive::<FromAppliance>()?.map(|received| received.message))
    }

    fn note(&mut self, said: FromAppliance) -> Result<(), Away> {
        match said {
            FromAppliance::Spooled { sequence } => self.note_spooled(sequence),
            FromAppliance::Vaulted { epoch, point } => {
                self.points.insert(epoch, point);
                self.note_vaulted(epoch);
            }
            FromAppliance::Demoted(demotion) => self.demotion = Some(demotion),
            FromAppliance::Compare { token, .. } => self.compares = Some(token),
            drain @ (FromAppliance::Drain { .. }
            | FromAppliance::DrainNoted { .. }
            | FromAppliance::Abort { .. }) => self.drains.push(drain),
            FromAppliance::Credit { bytes } => self.credit += bytes,
            FromAppliance::Resend { .. } => self.resend = true,
            FromAppliance::Prepare { token, .. } => self.asked = Some(token),
            FromAppliance::AllFrozen { token } => self.all_frozen = Some(token),
            FromAppliance::GroupResult { token, valid } => self.result = Some((token, valid)),
            FromAppliance::Refused(refused) => return Err(Away::Refused(refused)),
            _ => {}
        }
        Ok(())
    }

    fn note_spooled(&mut self, sequence: u64) {
        assert!(sequence <= self.sequence, "{sequence} was never sent");
        self.spooled = self.spooled.max(sequence);
        self.unspooled.retain(|kept, _| *kept > sequence);
        self.sent.retain(|kept| *kept > sequence);
    }

    fn note_vaulted(&mut self, epoch: u64) {
        self.vaulted = self.vaulted.max(epoch);
        self.changed.retain(|kept, _| *kept > epoch);
    }

    /// Asks which of 256 blocks are wanted, and waits for the answer.
    pub fn ask(&mut self, first: u64, fingerprints: &[[u8; 16]]) -> Result<Vec<bool>, Away> {
        let question = u32::try_from(first).expect("a small disk");
        let line = self.line.as_mut().ok_or_else(|| Away::Gone("not connected".to_owned()))?;
        let payload = fingerprints.concat();
        line.send_with(&FromAgent::Fingerprints { question, disk: 0, first }, &[&payload])?;
        loop {
            match self.hear_next()? {
                FromAppliance::Wanted { question: answered, bits } if answered == question => {
                    let bit = |at: usize| bits[at / 8] >> (at % 8) & 1 == 1;
                    return Ok((0..fingerprints.len()).map(bit).collect());
                }
                said => self.note(said)?,
            }
        }
    }

    /// The next message; the test fails where none comes.
    pub fn hear_next(&mut self) -> Result<FromAppliance, Away> {
        let line = self.line.as_mut().ok_or_else(|| Away::Gone("not connected".to_owned()))?;
        Ok(hear(line)?)
    }

    /// Says something.
    pub fn say(&mut self, message: &FromAgent) -> Result<(), Away> {
        let line = self.line.as_mut().ok_or_else(|| Away::Gone("not connected".to_owned()))?;
        Ok(line.send(message)?)
    }

    /// Works until something holds, across whatever happens to the connection.
    pub fn work_until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !holds(self) {
            assert!(began.elapsed() < PATIENCE, "{what} did not come about");
            if self.work().is_err() {
                self.connect_patiently();
            }
            // Where everything is to be compared, the test does that, and answers with it.
            if self.resend && self.compares.is_none() {
                self.send_again();
                let answer = self.asked.take().map(|token| (token, true));
                self.cut_with(answer);
            }
        }
    }

    /// Messages that are not acknowledged, for tests that send them in their own order.
    pub fn take_unspooled(&mut self) -> Vec<(FromAgent, Vec<u8>)> {
        self.sent.extend(self.unspooled.keys());
        self.unspooled.values().cloned().collect()
    }
}

/// The next message of a line; the test fails where none comes.
pub fn hear(line: &mut Line) -> Result<FromAppliance, Broken> {
    let began = Instant::now();
    loop {
        if let Some(received) = line.receive()? {
            return Ok(received.message);
        }
        assert!(began.elapsed() < PATIENCE, "nothing was said");
    }
}
