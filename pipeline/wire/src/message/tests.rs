//! The bytes of every message, as agents of every released version send and understand them.
//!
//! A line that changes here breaks every agent out there: add a message or a version instead. PROTOCOL.md has the rules.

use core::fmt::Write as _;

use super::*;
use crate::enrol;
use crate::frame::{self, HEAD_BYTES};

const SERVER: ServerId = ServerId([0x11; 16]);

pub(crate) fn hello() -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        agent: "0.1.0".to_owned(),
        host: "web1".to_owned(),
        kernel: "6.1".to_owned(),
        server: SERVER,
        binding: Binding { machine: [0x22; 16], disks: vec![[0x33; 16]] },
        run: [0x44; 16],
        connection: 0,
        disks: vec![disk()],
    }
}

fn disk() -> DiskHello {
    let identity = "serial=S1".to_owned();
    DiskHello { name: "sda".to_owned(), identity, bytes: 1 << 40, sector_bytes: 512 }
}

fn status() -> Status {
    Status {
        doing: "sending".to_owned(),
        changed_blocks: 300,
        compare_done: 1,
        compare_blocks: 2,
        written_bytes: 3,
        memory_bytes: 4,
        tracked: true,
        troubles: vec!["none".to_owned()],
    }
}

fn cut() -> Cut {
    Cut {
        sequence: 9,
        epoch: 2,
        instant: Instant::Application,
        at_millis: 1_800_000_000_000,
        frozen_micros: 1500,
        remarks: vec!["x".to_owned()],
        group: Some((7, true)),
    }
}

fn welcome() -> Welcome {
    Welcome {
        version: 1,
        appliance: "0.1.0".to_owned(),
        fingerprint_key: SecretKey::from_bytes([0x55; 32]),
        policy: Policy::default(),
        spooled: 300,
        vaulted_epoch: 1,
        spooled_epoch: 2,
        known_disks: vec![true, false],
        credit_bytes: 1 << 26,
    }
}

fn refused() -> Refused {
    let (words, remedy) = ("a copy".to_owned(), "enrol".to_owned());
    Refused { why: Why::Copy, words, remedy }
}

fn blocks(content: Content) -> FromAgent {
    let runs = vec![Run { first: 300, blocks: 2 }, Run { first: 400, blocks: 1 }];
    FromAgent::Blocks(Blocks { sequence: 1, disk: 0, content, runs })
}

fn drained() -> Drained {
    Drained {
        order: "f-1".to_owned(),
        epoch: 9,
        point: PointId([0x66; 16]),
        written_at_cut: 300,
        written_after: 300,
        changed_blocks: 0,
        read_only: true,
        remarks: vec!["x".to_owned()],
    }
}

fn demotion() -> Demotion {
    let branch = "web1~f-1".to_owned();
    Demotion { order: "f-1".to_owned(), point: PointId([0x66; 16]), branch }
}

fn from_agent() -> Vec<FromAgent> {
    vec![
        FromAgent::Hello(Box::new(hello())),
        blocks(Content::Data),
        blocks(Content::Zeros),
        blocks(Content::Discarded),
        blocks(Content::Unread),
        FromAgent::Cut(cut()),
        FromAgent::Cut(Cut { instant: Instant::Crash, group: None, ..cut() }),
        FromAgent::Cut(Cut { instant: Instant::Fuzzy, group: None, ..cut() }),
        FromAgent::Fingerprints { question: 5, disk: 1, first: 256 },
        FromAgent::Frozen { token: 7 },
        FromAgent::Status(status()),
        FromAgent::Goodbye { words: "bye".to_owned() },
        FromAgent::Renew { request: vec![1, 2, 3] },
        FromAgent::Drained(drained()),
        FromAgent::NotDrained { order: "f-1".to_owned(), words: "no".to_owned() },
        FromAgent::Cards { cards: vec![[2, 0, 0, 0, 0, 7], [2, 0, 0, 0, 0, 8]] },
    ]
}

fn from_appliance() -> Vec<FromAppliance> {
    let mut said = vec![
        FromAppliance::Welcome(Box::new(welcome())),
        FromAppliance::Credit { bytes: 1 << 20 },
        FromAppliance::Spooled { sequence: 300 },
        FromAppliance::Vaulted { epoch: 2, point: PointId([0x66; 16]) },
        FromAppliance::Wanted { question: 5, bits: vec![0xff; 3] },
        FromAppliance::Policy(Policy { left_out: vec!["sdb".to_owned()], ..Policy::default() }),
        FromAppliance::Resend { words: "lost".to_owned() },
        FromAppliance::Prepare { token: 7, patience_millis: 2000 },
        FromAppliance::AllFrozen { token: 7 },
        FromAppliance::GroupResult { token: 7, valid: true },
        FromAppliance::CutNow { application: true },
        FromAppliance::Renewed { certificate: vec![4, 5] },
    ];
    let why = [
        Why::Version,
        Why::Unknown,
        Why::Copy,
        Why::Demoted,
        Why::Elsewhere,
        Why::Later,
        Why::Nonsense,
    ];
    let order = || "f-1".to_owned();
    said.extend(why.map(|why| FromAppliance::Refused(Refused { why, ..refused() })));
    said.extend([
        FromAppliance::Demoted(demotion()),
        FromAppliance::Compare { token: 7, words: "ended".to_owned() },
        FromAppliance::Drain { order: order(), power_off: true },
        FromAppliance::DrainNoted { order: order() },
        FromAppliance::Abort { order: order() },
    ]);
    said
}

fn enrolment() -> (enrol::Request, Vec<enrol::Answer>) {
    let request = enrol::tests::request();
    let why = [
        enrol::Why::Unknown,
        enrol::Why::Used,
        enrol::Why::Ended,
        enrol::Why::Later,
        enrol::Why::Nonsense,
    ];
    let denied = why.map(|why| {
        let (words, remedy) = ("no".to_owned(), "try".to_owned());
        enrol::Answer::Denied(enrol::Denied { why, words, remedy })
    });
    (request, core::iter::once(enrol::tests::enrolled()).chain(denied).collect())
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

fn bytes(hex: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(pair).collect()
}

/// All of them, one a line: what it is, and its body.
fn all() -> String {
    let mut text = String::new();
    let body = |frame: Vec<u8>| hex(&frame[HEAD_BYTES..]);
    for said in from_agent() {
        writeln!(text, "agent {}", body(frame::emit(&said, 0).unwrap())).unwrap();
    }
    for said in from_appliance() {
        writeln!(text, "appliance {}", body(frame::emit(&said, 0).unwrap())).unwrap();
    }
    let (request, answers) = enrolment();
    writeln!(text, "request {}", hex(&enrol::emit(&request).unwrap())).unwrap();
    for answer in answers {
        writeln!(text, "answer {}", hex(&enrol::emit(&answer).unwrap())).unwrap();
    }
    writeln!(text, "token {}", enrol::tests::token()).unwrap();
    text
}

const GOLDEN: &str = include_str!("golden.txt");

#[test]
fn the_bytes_of_every_message_are_what_they_were() {
    // So that a message that was added can be copied from the test's output.
    assert_eq!(all(), GOLDEN, "{}", all());
}

#[test]
fn only_a_server_that_wrote_nothing_more_is_proven_to_be_drained() {
    assert!(drained().is_proof());
    for not in [
        Drained { written_after: 301, ..drained() },
        Drained { changed_blocks: 1, ..drained() },
        Drained { read_only: false, ..drained() },
    ] {
        assert!(!not.is_proof(), "{not:?}");
    }
}

#[test]
fn what_agents_and_appliances_of_before_said_is_understood() {
    let (mut agent, mut appliance) = (from_agent().into_iter(), from_appliance().into_iter());
    for line in GOLDEN.lines() {
        let (kind, said) = line.split_once(' ').unwrap();
        match kind {
            "agent" => assert_eq!(frame::message(&bytes(said)).ok(), agent.next()),
            "appliance" => assert_eq!(frame::message(&bytes(said)).ok(), appliance.next()),
            "request" => assert_eq!(enrol::parse(&bytes(said)), Some(enrolment().0)),
            "answer" => assert!(enrol::parse::<enrol::Answer>(&bytes(said)).is_some()),
            _ => assert_eq!(said.parse(), Ok(enrol::tests::token())),
        }
    }
    assert!(agent.next().is_none() && appliance.next().is_none());
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % limit.max(1)
    }
}

/// What a receiver does with bytes: nothing may panic, and nothing that is taken may be what it is not.
fn receive<M: Said + PartialEq + core::fmt::Debug>(bytes: &[u8]) -> Option<M> {
    let (first, rest) = bytes.split_first_chunk()?;
    let head = frame::head(*first).ok()?;
    assert!(head.body <= frame::BODY_BYTES_MAX && head.payload <= frame::PAYLOAD_BYTES_MAX);
    let message: M = frame::message(rest.get(..head.body)?).ok()?;
    message.fits(head.payload).then_some(message)
}

#[test]
fn hostile_frames_and_bodies_end_in_nothing_and_never_in_a_panic() {
    let seed = std::env::var("LIFEBOAT_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut random = Random(seed.unwrap_or(0x5eed_0004));
    println!("LIFEBOAT_SEED={}", random.0);
    let rounds: u32 =
        std::env::var("LIFEBOAT_WIRE_ROUNDS").map_or(60_000, |rounds| rounds.parse().unwrap());
    let whole: Vec<Vec<u8>> = from_agent()
        .iter()
        .map(|said| frame::emit(said, 0).unwrap())
        .chain(from_appliance().iter().map(|said| frame::emit(said, 0).unwrap()))
        .collect();
    let (request, answers) = enrolment();
    let bodies: Vec<Vec<u8>> = core::iter::once(enrol::emit(&request).unwrap())
        .chain(answers.iter().map(|answer| enrol::emit(answer).unwrap()))
        .collect();
    for _ in 0..rounds {
        let spoilt = |whole: &[Vec<u8>], random: &mut Random| {
            let mut bytes = whole[random.below(whole.len())].clone();
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len());
                // Mostly lengths and tags at their limits: there parsers break.
                bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)]
                    ^ u8::try_from(random.below(2)).unwrap();
            }
            bytes.truncate(bytes.len() - random.below(bytes.len() / 2));
            bytes
        };
        let bytes = spoilt(&whole, &mut random);
        let _ = receive::<FromAgent>(&bytes);
        let _ = receive::<FromAppliance>(&bytes);
        let _ = crate::version::hello(bytes.get(HEAD_BYTES..).unwrap_or_default());
        let body = spoilt(&bodies, &mut random);
        let _ = enrol::version_of(&body);
        if let Some(request) = enrol::parse::<enrol::Request>(&body) {
            assert_eq!(enrol::parse(&enrol::emit(&request).unwrap()), Some(request));
        }
        let _ = enrol::parse::<enrol::Answer>(&body);
    }
}

#[test]
fn a_body_that_claims_to_hold_more_than_it_does_takes_no_memory_for_it() {
    // A list of 2^63 runs, and a text of as many letters.
    let long = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01];
    let runs = [&[1, 1, 0, 0][..], &long].concat();
    assert!(frame::message::<FromAgent>(&runs).is_err());
    let words = [&[6][..], &long].concat();
    assert!(frame::message::<FromAgent>(&words).is_err());
    let disks = [&[1][..], &[0; 16], &[3], &[0; 16], &long].concat();
    assert!(enrol::parse::<enrol::Request>(&disks).is_none());
}
