//! Seeded histories: connections that drop at any byte and overtake each other, against an appliance of a few lines.

use std::collections::{BTreeMap, BTreeSet};

use hal_sim::random::Random;
use pipeline_wire::frame::{HEAD_BYTES, head, message};

use super::*;

/// What the appliance of the test knows: what it received whole, by sequence.
#[derive(Default)]
struct Appliance {
    received: BTreeMap<u64, Vec<u8>>,
    spooled: u64,
}

impl Appliance {
    fn receive(&mut self, parcel: &Parcel) {
        let (first, body) = parcel.head.split_first_chunk::<HEAD_BYTES>().unwrap();
        assert_eq!(head(*first).unwrap().payload, parcel.payload.len());
        let sequence = match message(body).unwrap() {
            FromAgent::Blocks(blocks) => blocks.sequence,
            FromAgent::Cut(cut) => cut.sequence,
            other => panic!("{other:?} is not kept"),
        };
        let before = self.received.insert(sequence, parcel.payload.clone());
        assert!(before.is_none_or(|before| before == parcel.payload), "{sequence} changed");
    }

    fn spool(&mut self) {
        while self.received.contains_key(&(self.spooled + 1)) {
            self.spooled += 1;
        }
    }
}

struct History {
    random: Random,
    outbox: Outbox,
    appliance: Appliance,
    /// What each connection has on its way.
    ways: [VecDeque<Arc<Parcel>>; 3],
    /// What the agent knows to be spooled.
    known: u64,
    said: Vec<Vec<u8>>,
    credit: u64,
}

impl History {
    fn step(&mut self) {
        match self.random.below(8) {
            0 | 1 => self.say(),
            2 | 3 => self.give(),
            4 | 5 => self.arrive(),
            6 => self.acknowledge(),
            _ => self.fail(),
        }
        let on_the_way: u64 = self.outbox.on_the_way;
        assert!(on_the_way <= self.credit, "{on_the_way} of {}", self.credit);
        assert!(self.outbox.bytes() <= 4096 + MESSAGE_COST * 2 || self.outbox.kept.len() == 1);
    }

    fn say(&mut self) {
        let mut payload = vec![0; usize::try_from(self.random.below(700)).unwrap()];
        self.random.fill(&mut payload);
        let runs = vec![Run { first: self.random.below(1000), blocks: 1 }];
        match self.outbox.blocks(0, Content::Data, runs, payload.clone()) {
            Ok(sequence) => {
                self.said.push(payload);
                assert_eq!(sequence, u64::try_from(self.said.len()).unwrap());
            }
            Err(NotTaken::Full(back)) => assert_eq!(back, payload),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn give(&mut self) {
        let way = u16::try_from(self.random.below(3)).unwrap();
        if let Some(parcel) = self.outbox.next(way) {
            let (_, body) = parcel.head.split_first_chunk::<HEAD_BYTES>().unwrap();
            let FromAgent::Blocks(blocks) = message(body).unwrap() else { panic!() };
            assert!(blocks.sequence > self.known, "acknowledged, and sent again");
            self.ways[usize::from(way)].push_back(parcel);
        }
    }

    fn arrive(&mut self) {
        let way = usize::try_from(self.random.below(3)).unwrap();
        if let Some(parcel) = self.ways[way].pop_front() {
            self.appliance.receive(&parcel);
        }
    }

    fn acknowledge(&mut self) {
        self.appliance.spool();
        self.known = self.appliance.spooled;
        self.outbox.acknowledge(self.known).unwrap();
        assert_eq!(self.outbox.spooled(), self.known);
    }

    /// One connection is cut: of what it had an unknown part arrived. Or all are, and a new session begins.
    fn fail(&mut self) {
        let way = usize::try_from(self.random.below(4)).unwrap();
        let cut: Vec<usize> = if way == 3 { vec![0, 1, 2] } else { vec![way] };
        for way in cut {
            let arrived = self.random.below(u64::try_from(self.ways[way].len() + 1).unwrap());
            for parcel in self.ways[way].drain(..).take(usize::try_from(arrived).unwrap()) {
                self.appliance.receive(&parcel);
            }
            self.outbox.lost(u16::try_from(way).unwrap());
        }
        if way == 3 {
            // Whatever the appliance had not spooled is lost with its session.
            self.appliance.spool();
            let spooled = self.appliance.spooled;
            self.appliance.received.retain(|sequence, _| *sequence <= spooled);
            self.known = spooled;
            self.credit = 1000 + self.random.below(3000);
            self.outbox.welcome(spooled, self.credit).unwrap();
        }
    }
}

#[test]
fn nothing_acknowledged_is_sent_again_and_nothing_else_is_lost() {
    for seed in 0..300 {
        let mut history = History {
            random: Random::new(seed),
            outbox: Outbox::new(4096),
            appliance: Appliance::default(),
            ways: Default::default(),
            known: 0,
            said: Vec::new(),
            credit: 2000,
        };
        history.outbox.welcome(0, 2000).unwrap();
        for _ in 0..600 {
            history.step();
        }
        // In the end everything heals.
        for _ in 0..10_000 {
            if history.outbox.is_empty() {
                break;
            }
            history.give();
            history.arrive();
            history.acknowledge();
        }
        assert!(history.outbox.is_empty(), "seed {seed}: something never arrives");
        assert_eq!(history.outbox.bytes(), 0, "seed {seed}");
        let whole: Vec<Vec<u8>> = history.appliance.received.into_values().collect();
        assert!(history.said.len() > 20, "seed {seed}: the history says too little");
        assert!(whole == history.said, "seed {seed}: what arrived is not what was said");
    }
}

#[test]
fn without_credit_only_cuts_go() {
    let mut outbox = Outbox::new(1 << 20);
    outbox.welcome(0, 0).unwrap();
    let cut = Cut {
        sequence: 0,
        epoch: 1,
        instant: pipeline_wire::message::Instant::Crash,
        at_millis: 0,
        frozen_micros: 0,
        remarks: Vec::new(),
        group: None,
    };
    assert_eq!(outbox.cut(cut.clone()), Ok(1));
    assert!(outbox.next(0).is_some());
    let run = vec![Run { first: 0, blocks: 1 }];
    outbox.blocks(0, Content::Data, run, vec![1; 65_536]).unwrap();
    outbox.cut(cut).unwrap();
    assert!(outbox.next(0).is_none(), "a cut never overtakes the blocks before it");
    outbox.credit(65_536);
    assert!(outbox.next(0).is_some() && outbox.next(0).is_some() && outbox.next(0).is_none());
}

#[test]
fn an_appliance_that_acknowledges_what_was_never_sent_is_caught() {
    let mut outbox = Outbox::new(1 << 20);
    let never = NeverSent { acknowledged: 3, newest: 0 };
    assert_eq!(outbox.acknowledge(3), Err(never));
    assert_eq!(outbox.welcome(3, 10), Err(never));
}

#[test]
fn what_is_kept_is_bounded_but_one_message_always_goes() {
    let mut outbox = Outbox::new(1000);
    let run = || vec![Run { first: 0, blocks: 1 }];
    assert!(outbox.blocks(0, Content::Data, run(), vec![0; 65_536]).is_ok());
    let full = outbox.blocks(0, Content::Data, run(), vec![7; 10]);
    assert_eq!(full, Err(NotTaken::Full(vec![7; 10])));
    outbox.acknowledge(1).unwrap();
    let sequences: BTreeSet<u64> =
        (0..3).map(|_| outbox.blocks(0, Content::Zeros, run(), Vec::new()).unwrap()).collect();
    assert_eq!(sequences, BTreeSet::from([2, 3, 4]));
}
